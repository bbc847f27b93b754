"""Look at refunds that Paystack has, and hold what it says against them and their payments.

Reading changes nothing at Paystack, so nothing is put on record before the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from db import jobs as ledger
from db import refunds
from domain.jobs import ClaimedJob, JobKind
from domain.quotas import Lane
from domain.refund import RefundNews
from domain.retry import Failure, FailureKind, Park
from jobs.paystack.answers import Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.refunds import news_of
from jobs.postponing import postponed
from jobs.refund_news import LearnedOfRefund, apply_refund_news
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.connection import Connection
    from domain.refund import Refund
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack

LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    """One refund to look at, by Paystack's number for it."""

    job: ClaimedJob
    refund: Refund
    gateway_refund_id: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed, or why it showed nothing."""

    look: Look
    news: RefundNews | Failure

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.look.job


def check_refunds(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due."""
    if postponed(context, ids):
        return
    with context.gateway.seats(len(ids)) as seats:
        looks = _begin(context, ids)
        for group in seats.as_they_arrive(partial(look_at, context.paystack.on(Lane.REFUNDS)), looks):
            settle_together(context, [_seen(look, result) for look, result in group], partial(_settle, context))


def _begin(context: JobContext, ids: Sequence[UUID]) -> list[Look]:
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=JobKind.CHECK_REFUND, ids=ids, lease_seconds=LEASE_SECONDS)
        found = refunds.get_refunds(tx, [UUID(job.payload["refund_id"]) for job in claimed])
        looks: list[Look] = []
        for job in claimed:
            refund = found.get(UUID(job.payload["refund_id"]))
            if refund is None or refund.gateway_refund_id is None:
                ledger.apply_decision(tx, job, Park(), error="Paystack has no such refund")
            else:
                looks.append(Look(job, refund, refund.gateway_refund_id))
    return looks


def look_at(paystack: Paystack, look: Look) -> Seen:
    """Ask Paystack about one refund."""
    answer = paystack.fetch_refund(look.gateway_refund_id)
    match answer:
        case Done(found):
            return Seen(look, news_of(found))
        case Refused(_, reason) | Unknown(reason) | NotSent(reason):
            return Seen(look, Failure(FailureKind.TRANSIENT, f"looking at the refund: {reason}"))
        case NotNow(seconds, reason):
            return Seen(look, Failure(FailureKind.UNAVAILABLE, reason, seconds))
        case _:
            assert_never(answer)


def _seen(look: Look, result: Seen | Exception) -> Seen:
    if isinstance(result, Seen):
        return result
    return Seen(look, Failure(FailureKind.TRANSIENT, f"the call raised {type(result).__name__}"))


def _settle(context: JobContext, tx: Connection, seen: Sequence[Seen]) -> None:
    """Write what was seen: only the run that still holds a job may."""
    told = [(s.look, s.news) for s in seen if isinstance(s.news, RefundNews)]
    held = ledger.finish_jobs(tx, [look.job for look, _ in told])
    for s in seen:
        if isinstance(s.news, Failure):
            write_failure(tx, context, s.job, s.news)
    apply_refund_news(
        tx,
        [
            LearnedOfRefund(look.refund.payment_id, look.refund.id, news, look.job.correlation_id)
            for look, news in told
            if look.job.id in held
        ],
    )
