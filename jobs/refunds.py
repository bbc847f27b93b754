"""Send refunds to Paystack, each once.

Paystack takes no reference of ours for a refund, so sending twice would pay twice. The call is put on record and
committed before it is made: from then on its refund is *unsettled*, and nothing else is sent for its transaction. A
run that finds its refund unsettled, after a lost answer or a crash, searches Paystack's list for our note instead of
sending. Only a refund that the list has not shown for long enough is taken for one that never arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from db import jobs as ledger
from db import payments, refunds
from db.clock import get_now
from db.payments import SourcedChange
from domain.errors import ErrorCode
from domain.jobs import ClaimedJob, JobKind
from domain.payment import ReviewReason, Source
from domain.quotas import Lane
from domain.refund import SEARCH_PAUSE, RefundNews, RefundStatus, flag_refund, is_searched_enough
from domain.retry import Failure, FailureKind, Park, Postpone
from jobs.paystack.answers import Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.refunds import news_of, refusal_code
from jobs.postponing import postponed
from jobs.refund_news import LearnedOfRefund, apply_refund_news
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.connection import Connection
    from db.refunds import Sending, UnsettledRefund
    from domain.payment import Payment
    from domain.refund import Refund
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack

# A call takes at most some tens of seconds; a run that takes longer is taken for dead, and fenced off.
LEASE_SECONDS = 60.0

# Until it is asked again whether another refund of the same transaction has settled: as long as that one has taken.
_TURN_SECONDS_MIN, _TURN_SECONDS_MAX = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """One refund to send, or to search for when an earlier call for it is unsettled.

    `is_last_search` says that it is taken for never arrived if this search does not find it either.
    """

    job: ClaimedJob
    refund: Refund
    is_unsettled: bool
    is_last_search: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A run after which the refund still waits; unless it is `not_sent` for certain, it is unsettled from now on."""

    failure: Failure
    not_sent: bool = False
    searched: bool = False


Outcome = RefundNews | Unfinished


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one run."""

    work: Work
    outcome: Outcome

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.work.job


def send_refunds(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    if postponed(context, ids):
        return
    with context.gateway.seats(len(ids)) as seats:
        work = _begin(context, ids)
        for group in seats.as_they_arrive(partial(send_one, context), work):
            settlements = [_settled(item, result) for item, result in group]
            settle_together(context, settlements, partial(_settle, context))


def _begin(context: JobContext, ids: Sequence[UUID]) -> list[Work]:
    """Claim the jobs and put on record which refunds are sent now, in one transaction."""
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=JobKind.SEND_REFUND, ids=ids, lease_seconds=LEASE_SECONDS)
        if not claimed:
            return []
        # Under the lock of its payment, a transaction is one refund's at a time.
        payments.lock_payments(tx, [UUID(job.payload["payment_id"]) for job in claimed])
        found = refunds.get_sendings(tx, [UUID(job.payload["refund_id"]) for job in claimed])
        holders = refunds.get_unsettled(tx, [sending.refund.gateway_transaction_id for sending in found.values()])
        now = get_now(tx)
        begun: dict[int, Work] = {}
        for job in claimed:
            sending = found.get(UUID(job.payload["refund_id"]))
            if sending is None:
                ledger.apply_decision(tx, job, Park(), error="its refund does not exist")
                continue
            refund, transaction = sending.refund, sending.refund.gateway_transaction_id
            if refund.status is not RefundStatus.PENDING:
                ledger.finish_jobs(tx, [job])
            elif transaction in begun or (transaction in holders and holders[transaction].refund_id != refund.id):
                wait = _turn_seconds(holders.get(transaction), now)
                ledger.apply_decision(tx, job, Postpone(wait), error="another refund of its payment goes first")
            else:
                begun[transaction] = _work(job, sending, now)
        refunds.mark_sent(tx, [work.refund.id for work in begun.values() if not work.is_unsettled])
    return list(begun.values())


def _turn_seconds(holder: UnsettledRefund | None, now: datetime) -> float:
    taken = 0.0 if holder is None else (now - holder.sent_at).total_seconds()
    return min(max(taken, _TURN_SECONDS_MIN), _TURN_SECONDS_MAX)


def _work(job: ClaimedJob, sending: Sending, now: datetime) -> Work:
    since_sent = timedelta(0) if sending.sent_at is None else now - sending.sent_at
    is_last_search = is_searched_enough(sending.searches + 1, since_sent)
    return Work(job, sending.refund, is_unsettled=sending.is_unsettled, is_last_search=is_last_search)


def send_one(context: JobContext, work: Work) -> Settlement:
    """Call Paystack for one refund and say what came of it. Touches no database, holds nothing."""
    paystack = context.paystack.on(Lane.REFUNDS)
    if not work.is_unsettled:
        return Settlement(work, _send(paystack, work.refund))
    outcome = _search(paystack, work.refund)
    if isinstance(outcome, Unfinished) and outcome.searched and work.is_last_search:
        outcome = _never_arrived(resend=context.resend_refunds)
    return Settlement(work, outcome)


def _send(paystack: Paystack, refund: Refund) -> Outcome:
    answer = paystack.create_refund(refund)
    match answer:
        case Done(found):
            return news_of(found)
        case Refused():
            return _refused(paystack, refund, answer)
        case Unknown(reason):
            return Unfinished(failure=Failure(FailureKind.TRANSIENT, f"refund: {reason}"))
        case NotSent(reason):
            return Unfinished(failure=Failure(FailureKind.TRANSIENT, reason), not_sent=True)
        case NotNow(seconds, reason):
            return Unfinished(failure=Failure(FailureKind.UNAVAILABLE, reason, seconds), not_sent=True)
        case _:
            assert_never(answer)


def _refused(paystack: Paystack, refund: Refund, refused: Refused) -> Outcome:
    code = refusal_code(refused)
    failed = RefundNews(status=RefundStatus.FAILED, code=code, message=refused.message)
    if code is ErrorCode.PAYSTACK_API_ERROR:
        return failed
    # That too little is left may be the doing of an earlier call for this very refund, whose answer was lost.
    outcome = _search(paystack, refund)
    return failed if isinstance(outcome, Unfinished) and outcome.searched else outcome


def _search(paystack: Paystack, refund: Refund) -> Outcome:
    answer = paystack.list_refunds(refund.gateway_transaction_id)
    match answer:
        case Done(listed):
            ours = [found for found in listed if refund.note in (found.refund.merchant_note or "")]
            return news_of(ours[0]) if ours else _not_found()
        case Refused(_, reason) | Unknown(reason) | NotSent(reason):
            return Unfinished(failure=Failure(FailureKind.TRANSIENT, f"searching the list of refunds: {reason}"))
        case NotNow(seconds, reason):
            return Unfinished(failure=Failure(FailureKind.UNAVAILABLE, reason, seconds))
        case _:
            assert_never(answer)


def _not_found() -> Unfinished:
    pause = SEARCH_PAUSE.total_seconds()
    failure = Failure(FailureKind.UNAVAILABLE, "its answer was lost, and Paystack's list does not show it yet", pause)
    return Unfinished(failure=failure, searched=True)


def _never_arrived(*, resend: bool) -> Unfinished:
    if resend:
        failure = Failure(FailureKind.UNAVAILABLE, "its answer was lost, and it never arrived: it is sent again")
        return Unfinished(failure=failure, not_sent=True)
    reason = "its answer was lost, Paystack's list does not show it, and ENABLE_REFUND_RESEND is off"
    return Unfinished(failure=Failure(FailureKind.PERMANENT, reason))


def _settled(work: Work, result: Settlement | Exception) -> Settlement:
    if isinstance(result, Settlement):
        return result
    # A defect of ours in the middle of a call: whether anything was sent is not known.
    failure = Failure(FailureKind.TRANSIENT, f"the call raised {type(result).__name__}")
    return Settlement(work, Unfinished(failure=failure))


def _settle(context: JobContext, tx: Connection, settlements: Sequence[Settlement]) -> None:
    """Write what came of some runs: jobs first, then payments, then refunds, the order in which all lock them.

    Only the run that still holds a job may write its effect.
    """
    told = [(s.work, s.outcome) for s in settlements if isinstance(s.outcome, RefundNews)]
    held = ledger.finish_jobs(tx, [work.job for work, _ in told])
    unfinished = [
        (s.work, s.outcome, decision)
        for s in settlements
        if isinstance(s.outcome, Unfinished) and (decision := write_failure(tx, context, s.job, s.outcome.failure))
    ]
    locked = payments.lock_payments(tx, [s.work.refund.payment_id for s in settlements])
    refunds.mark_not_sent(tx, [work.refund.id for work, outcome, _ in unfinished if outcome.not_sent])
    refunds.mark_searched(tx, [work.refund.id for work, outcome, _ in unfinished if outcome.searched])
    _flag(tx, locked, [work for work, _, decision in unfinished if isinstance(decision, Park)])
    apply_refund_news(
        tx,
        [
            LearnedOfRefund(work.refund.payment_id, work.refund.id, news, work.job.correlation_id)
            for work, news in told
            if work.job.id in held
        ],
    )


def _flag(tx: Connection, locked: dict[UUID, Payment], stuck: Sequence[Work]) -> None:
    """Call a person to payments whose refund is not sent, or perhaps is, and is not tried again by itself."""
    changes: list[SourcedChange] = []
    for work in stuck:
        change = flag_refund(locked[work.refund.payment_id], work.refund, ReviewReason.REFUND_UNSETTLED)
        if change is not None:
            locked[change.after.id] = change.after
            changes.append(SourcedChange(change, Source.PAYFLEET, work.job.correlation_id))
    payments.write_changes(tx, changes)
