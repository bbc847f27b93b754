"""Paystack's events about refunds: hints to go and look, never believed.

Most name only the transaction, not the refund, and their amounts come in every shape: so each brings forward a look at
those refunds of the payment that it could mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from db import refunds
from db.jobs import enqueue_jobs
from domain.jobs import JobKind
from domain.refund import RefundStatus, is_worth_asking
from jobs.paystack.wire import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from db.connection import Connection
    from domain.refund import Refund

TOLD_BY: Mapping[str, RefundStatus] = {
    "refund.pending": RefundStatus.PROCESSING,
    "refund.processing": RefundStatus.PROCESSING,
    "refund.processed": RefundStatus.SUCCESS,
    "refund.failed": RefundStatus.FAILED,
    "refund.needs-attention": RefundStatus.NEEDS_ATTENTION,
    # Of the transfers that carry refunds; those of anything else name no transaction of ours.
    "transfer.success": RefundStatus.SUCCESS,
    "transfer.failed": RefundStatus.FAILED,
}
"""The events that are acted on, and the status that each tells."""


class RefundEventData(BaseModel):
    """The data of an event about a refund, as far as it is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    transaction_reference: Text = None
    reference: Text = None
    domain: Text = None


@dataclass(frozen=True, slots=True)
class Hint:
    """Some refund of this payment is said to stand so."""

    payment_id: UUID
    told: RefundStatus
    correlation_id: str


def follow_hints(tx: Connection, hints: Sequence[Hint]) -> list[int]:
    """Have the refunds looked at that hints could mean; returns for each hint how many those are.

    A refund that Paystack has not confirmed yet is brought forward too: it may be the answer that was lost.
    """
    if not hints:
        return []
    found = refunds.get_refunds_of(tx, {hint.payment_id for hint in hints})
    meant = [[r for r in found if r.payment_id == h.payment_id and is_worth_asking(r, h.told)] for h in hints]
    jobs = {
        refund.id: refunds.refund_job(_look_at(refund), refund, hint.correlation_id)
        for hint, of_it in zip(hints, meant, strict=True)
        for refund in of_it
    }
    # In the order of their refunds, so that batches cannot deadlock on the jobs they join.
    enqueue_jobs(tx, [jobs[refund_id] for refund_id in sorted(jobs)])
    return [len(of_it) for of_it in meant]


def _look_at(refund: Refund) -> JobKind:
    return JobKind.SEND_REFUND if refund.gateway_refund_id is None else JobKind.CHECK_REFUND
