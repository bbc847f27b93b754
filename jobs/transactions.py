"""Opening transactions at Paystack, at most one for each intention: how the ledger's jobs for it are run.

Two short transactions around each call. The first claims the jobs and records the calls about to be made; the second
writes what came of them. A call whose answer was lost stays on record as unknown.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from db import attempts, payments
from db import jobs as ledger
from db.attempts import AttemptOutcome, NewAttempt, SettledAttempt
from db.jobs import NewJob
from domain.jobs import ClaimedJob, JobKind, dedupe_key
from domain.payment import Payment, PaymentStatus
from domain.retry import Failure, Park, Postpone
from jobs.applying import Learned, apply_facts
from jobs.opening import Opening, Reading, Settlement, Withheld, Work, open_one, settlement_of
from jobs.postponing import postponed
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.connection import Connection
    from jobs.context import JobContext

Request = TypeVar("Request")

# A call seldom takes more than seconds, and at most some tens of them. A run that takes longer than this is taken for
# dead: another run asks Paystack about the reference first, and the old one is fenced off should it wake up after all.
LEASE_SECONDS = 60.0

_VERIFY_AFTER_SECONDS = 10.0


def open_transactions(context: JobContext, opening: Opening[Any, Any], ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    if postponed(context, ids):
        return
    with context.gateway.seats(len(ids)) as seats:
        work = _begin(context, opening, ids)
        for group in seats.as_they_arrive(partial(_open, context, opening), work):
            settlements = [settlement_of(opening, item, result) for item, result in group]
            settle_together(context, settlements, partial(_settle, context))


def _begin(context: JobContext, opening: Opening[Request, Any], ids: Sequence[UUID]) -> list[Work[Request]]:
    """Claim the jobs and put the calls on record, in one transaction."""
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=opening.kind, ids=ids, lease_seconds=LEASE_SECONDS)
        if not claimed:
            return []
        job_of = {UUID(job.payload["payment_id"]): job for job in claimed}
        found = payments.get_payments(tx, job_of)
        for payment_id in job_of.keys() - found.keys():
            ledger.apply_decision(tx, job_of[payment_id], Park(), error="its payment does not exist")
        pending = [payment for payment in found.values() if payment.status is PaymentStatus.PENDING]
        prepared = {id_: Withheld() for id_ in found} | dict(opening.prepare(context, tx, pending))
        requests: dict[UUID, Request | Withheld] = {}
        for payment_id, request in prepared.items():
            if isinstance(request, Failure):
                write_failure(tx, context, job_of[payment_id], request)
            else:
                requests[payment_id] = request
        calls = [NewAttempt(job_of[id_].id, job_of[id_].token, id_, found[id_].reference) for id_ in requests]
        unknown_for = attempts.open_attempts(tx, kind=opening.kind, attempts=calls)
    return [
        Work(job_of[id_], found[id_], request, unknown_for.get(job_of[id_].id)) for id_, request in requests.items()
    ]


def _open(context: JobContext, opening: Opening[Request, Any], work: Work[Request]) -> Settlement:
    """Call Paystack for one payment, unless its user or its order speaks against it."""
    # Where an earlier call may have arrived, what became of it is all that counts.
    if work.unknown_for is None and not isinstance(work.request, Withheld):
        objection = context.services.check(work.payment, correlation_id=work.job.correlation_id)
        if objection is not None:
            reading = Reading(fact=objection.refusal, failure=objection.failure)
            return Settlement(work=work, attempt=AttemptOutcome.NOT_SENT, reading=reading, source=objection.source)
    return open_one(opening, context.paystack, work)


def _settle(context: JobContext, tx: Connection, settlements: Sequence[Settlement]) -> None:
    """Write what came of some runs. Only the run that still holds a job may write its effect."""
    held = ledger.finish_jobs(tx, [s.job for s in settlements if s.is_last])
    done = [s for s in settlements if s.job.id in held]
    apply_facts(
        context,
        tx,
        [
            Learned(s.work.payment.id, s.reading.fact, s.source, s.job.correlation_id)
            for s in done
            if s.reading.fact is not None
        ],
    )
    ledger.enqueue_jobs(tx, [_verification(s) for s in done if s.reading.verify_later])
    for settlement in settlements:
        if settlement.reading.failure is not None:
            write_failure(tx, context, settlement.job, settlement.reading.failure)
        elif settlement.reading.next_reference:
            _start_over(tx, settlement.job, settlement.work.payment)
    _settle_attempts(tx, settlements)


def _verification(settlement: Settlement) -> NewJob:
    payment_id = settlement.work.payment.id
    return NewJob(
        kind=JobKind.VERIFY_PAYMENT,
        payload={"payment_id": str(payment_id)},
        dedupe_key=dedupe_key(JobKind.VERIFY_PAYMENT, payment_id),
        delay_seconds=_VERIFY_AFTER_SECONDS,
        correlation_id=settlement.job.correlation_id,
    )


def _start_over(tx: Connection, job: ClaimedJob, payment: Payment) -> None:
    """Give the payment a new reference and run its job again at once."""
    if ledger.apply_decision(tx, job, Postpone(0), error="the URL of an earlier transaction was lost"):
        payments.take_next_reference(tx, payment)


def _settle_attempts(tx: Connection, settlements: Sequence[Settlement]) -> None:
    for s in settlements:
        if s.resolved is not None:
            attempts.resolve_attempts(
                tx,
                payment_id=s.work.payment.id,
                reference=s.work.payment.reference,
                outcome=s.resolved,
                detail="found by verify" if s.resolved is AttemptOutcome.DONE else "not found by verify",
            )
    attempts.settle_attempts(tx, [SettledAttempt(s.job.id, s.job.token, s.attempt, s.detail) for s in settlements])
