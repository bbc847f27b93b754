"""Apply Paystack's webhook events to the payments they speak of: one transaction for a whole batch.

What an event says of a charge is applied; what one says of a refund is a hint to go and look (`jobs/refund_events.py`).

Nothing outside Postgres is called, so no lease is needed: the transaction that deletes a job writes its effect, and a
process that dies in it lets go of the job for RabbitMQ's next delivery.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import orjson
from pydantic import ValidationError

from db import jobs as ledger
from db import webhooks
from db.webhooks import HandledWebhook, Verdict
from domain.ids import MalformedIdError, payment_of
from domain.jobs import ClaimedJob, JobKind
from domain.payment import ChargeFailed, Fact, Source
from jobs.applying import Held, Learned, apply_facts
from jobs.paystack.wire import Transaction, WebhookEvent, charged_fact, read_json
from jobs.refund_events import TOLD_BY, Hint, RefundEventData, follow_hints
from jobs.settling import settle_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.connection import Connection
    from domain.refund import RefundStatus
    from jobs.context import JobContext


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job to apply one stored event."""

    job: ClaimedJob
    webhook_id: UUID


@dataclass(frozen=True, slots=True)
class Reading:
    """What an event says: a fact about one of our payments, how a refund of it stands, or why it says nothing to us."""

    event: str | None
    payment_id: UUID | None = None
    fact: Fact | None = None
    told: RefundStatus | None = None
    reason: str | None = None


def apply_webhooks(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids; those that are done or held by another process are left alone."""
    with context.database.connection() as connection:
        jobs = ledger.read_jobs(connection, kind=JobKind.APPLY_WEBHOOK, ids=ids)
    deliveries = [Delivery(job, UUID(job.payload["webhook_id"])) for job in jobs]
    if deliveries:
        settle_together(context, deliveries, partial(_apply, context))


def _apply(context: JobContext, tx: Connection, deliveries: Sequence[Delivery]) -> None:
    held = ledger.finish_jobs(tx, [delivery.job for delivery in deliveries])
    mine = {d.webhook_id: d.job for d in deliveries if d.job.id in held}
    stored = webhooks.get_webhooks(tx, mine)
    readings = {  # in the order they came
        s.id: read_event(context.seal.open(s.body_sealed), live=context.live)
        for s in stored.values()
        if s.verdict is Verdict.RECEIVED
    }
    # First, since jobs are locked before payments.
    hints = {
        webhook_id: Hint(reading.payment_id, reading.told, mine[webhook_id].correlation_id)
        for webhook_id, reading in readings.items()
        if reading.told is not None and reading.payment_id is not None
    }
    meant = dict(zip(hints, follow_hints(tx, list(hints.values())), strict=True))
    facts = {
        webhook_id: Learned(reading.payment_id, reading.fact, Source.WEBHOOK, mine[webhook_id].correlation_id)
        for webhook_id, reading in readings.items()
        if reading.fact is not None and reading.payment_id is not None
    }
    results = dict(zip(facts, apply_facts(context, tx, list(facts.values())), strict=True))
    webhooks.mark_webhooks(
        tx, [_handled(id_, reading, results.get(id_), meant.get(id_)) for id_, reading in readings.items()]
    )


def _handled(webhook_id: UUID, reading: Reading, held: Held | None, refunds_meant: int | None) -> HandledWebhook:
    """Say what became of an event, and why."""
    verdict = Verdict.IGNORED
    if refunds_meant:
        verdict, reason = Verdict.APPLIED, "Paystack is asked about it"
    elif refunds_meant == 0:
        reason = "no refund of ours that it could tell something new of"
    elif held is None:
        reason = reading.reason
    elif held.before is None:
        reason = "unknown reference"
    elif held.change is None:
        reason = f"no news for a payment in {held.before.status}"
    else:
        verdict, reason = Verdict.APPLIED, held.change.after.review_reason
    return HandledWebhook(webhook_id, verdict, reading.event, reason, reading.payment_id)


def read_event(body: bytes, *, live: bool) -> Reading:
    """Read an event's raw body, whose signature was checked at the edge. Never raises: what cannot be read is said."""
    try:
        event = WebhookEvent.model_validate(read_json(body))
    except (orjson.JSONDecodeError, ValidationError):
        return Reading(event=None, reason="not an event")
    match event.event:
        case "charge.success" | "charge.failed" if isinstance(event.data, dict):
            return _read_charge(event.event, cast("dict[str, Any]", event.data), live=live)
        case name if name in TOLD_BY and isinstance(event.data, dict):
            return _read_refund(name, cast("dict[str, Any]", event.data), live=live)
        case _:
            return Reading(event=event.event, reason="an event Payfleet does not act on")


def _read_refund(name: str, data: dict[str, Any], *, live: bool) -> Reading:
    refund = RefundEventData.model_validate(data)
    try:
        payment_id, _ = payment_of(refund.transaction_reference or refund.reference or "")
    except MalformedIdError:
        return Reading(event=name, reason="unknown reference")
    if refund.domain and (refund.domain == "live") != live:
        return Reading(event=name, payment_id=payment_id, reason=f"an event of the {refund.domain} domain")
    return Reading(event=name, payment_id=payment_id, told=TOLD_BY[name])


def _read_charge(name: str, data: dict[str, Any], *, live: bool) -> Reading:
    try:
        transaction = Transaction.model_validate(data)
        payment_id, _ = payment_of(transaction.reference)
    except ValidationError as error:
        return Reading(
            event=name, reason=f"malformed: {', '.join('.'.join(map(str, e['loc'])) for e in error.errors())}"
        )
    except MalformedIdError:
        return Reading(event=name, reason="unknown reference")
    if transaction.domain and (transaction.domain == "live") != live:
        return Reading(event=name, payment_id=payment_id, reason=f"an event of the {transaction.domain} domain")
    if name == "charge.failed":
        reason = transaction.gateway_response or transaction.message or "no reason given"
        fact = ChargeFailed(reference=transaction.reference, reason=reason, transaction_id=transaction.id)
        return Reading(event=name, payment_id=payment_id, fact=fact)
    if transaction.status != "success":
        return Reading(event=name, payment_id=payment_id, reason=f"a success event of status {transaction.status}")
    return Reading(event=name, payment_id=payment_id, fact=charged_fact(transaction, data))
