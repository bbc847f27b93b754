"""Verify payments: ask Paystack what became of them, and hold its answer against what was asked of the customer.

A look changes nothing at Paystack, so a lost answer is simply asked for again. What was learned is written together
with the end of the job; a look whose answer settles nothing ends as well: the next one is somebody else's to ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from db import attempts, payments, verifications
from db import jobs as ledger
from db.attempts import Looked, Tried
from db.clock import get_now
from db.verifications import NotedLook
from domain.errors import ErrorCode
from domain.ids import payment_of
from domain.jobs import ClaimedJob, JobKind
from domain.looks import is_given_up
from domain.payment import Charged, Fact, InProgress, NotPaid, Payment, Source
from domain.quotas import Lane
from domain.retry import Failure, FailureKind, Park
from jobs.applying import Learned, apply_facts
from jobs.paystack.answers import Answer, Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.client import VerifiedTransaction
from jobs.paystack.wire import fact_of
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from db.connection import Connection
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack

# Longer than asking about a reference or two can take. A run that takes longer is fenced off, and its look made anew.
LEASE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Question:
    """One payment to ask about, under these references in this order."""

    job: ClaimedJob
    payment: Payment
    references: Mapping[str, Tried]
    looked_at: datetime

    @property
    def expired(self) -> bool:
        """Whether the customer has had all the time there is."""
        return self.payment.expires_at is not None and self.looked_at >= self.payment.expires_at

    @property
    def given_up(self) -> bool:
        """Whether what is still unfinished by now counts as not paid."""
        return is_given_up(self.looked_at - self.payment.created_at, self.payment.patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look saw: a fact (None for a status that means nothing to us), or why it saw nothing.

    `found` tells of each reference that was asked about whether Paystack has it, unless the look failed.
    `error` is what a waiting client is told of a failure; None when Paystack was not really asked.
    """

    question: Question
    fact: Fact | None = None
    gateway_status: str | None = None
    found: Mapping[str, bool] = field(default_factory=dict[str, bool])
    failure: Failure | None = None
    error: ErrorCode | None = None

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.question.job


def verify_payments(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    with context.gateway.seats(len(ids)) as seats:
        questions = _begin(context, ids)
        for group in seats.as_they_arrive(partial(look, context.paystack.on(Lane.VERIFICATION)), questions):
            looks = [_look_of(question, result) for question, result in group]
            settle_together(context, looks, partial(_settle, context))


def _begin(context: JobContext, ids: Sequence[UUID]) -> list[Question]:
    """Claim the jobs, and find out which transactions to ask about."""
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=JobKind.VERIFY_PAYMENT, ids=ids, lease_seconds=LEASE_SECONDS)
        if not claimed:
            return []
        job_of = {UUID(job.payload["payment_id"]): job for job in claimed}
        found = payments.get_payments(tx, job_of)
        tried = attempts.get_tried_references(tx, job_of)
        for payment_id in job_of.keys() - found.keys():
            ledger.apply_decision(tx, job_of[payment_id], Park(), error="its payment does not exist")
    # Read once the claim is committed: whoever asks for a look later than this sees that one is under way, and has it
    # made again; so a look answers just the requests that came before this moment.
    with context.database.connection() as connection:
        looked_at = get_now(connection)
    return [
        Question(job_of[payment.id], payment, _in_order(payment, tried.get(payment.id, {})), looked_at)
        for payment in found.values()
    ]


def _in_order(payment: Payment, tried: Mapping[str, Tried]) -> dict[str, Tried]:
    """Name the references to ask about: the one in force, and those given up, under which a customer may have paid.

    The newest first, but for those with an unknown call: asking ends where money is found, and must not end before.
    """
    references = {payment.reference: Tried(), **tried}
    ordered = sorted(references, key=lambda name: payment_of(name)[1], reverse=True)
    return {name: references[name] for name in sorted(ordered, key=lambda name: not references[name].is_unknown)}


def look(paystack: Paystack, question: Question) -> Look:
    """Ask about one payment's transactions until one is found paid. Touches no database, holds nothing."""
    # As long as Paystack knows nothing of the reference in force, nobody has paid under it.
    fact: Fact | None = NotPaid(question.payment.reference, question.expired)
    gateway_status = missing = None
    found: dict[str, bool] = {}
    for reference, tried in question.references.items():
        answer = paystack.verify(reference)
        match answer:
            case Done(None):
                found[reference] = False
                missing = missing or (reference if tried.is_certain else None)
            case Done(VerifiedTransaction(transaction, raw)) if transaction.reference == reference:
                found[reference] = True
                seen = fact_of(transaction, raw, expired=question.expired)
                if isinstance(seen, Charged):
                    return Look(question=question, fact=seen, gateway_status=transaction.status, found=found)
                if reference == question.payment.reference:
                    fact, gateway_status = seen, transaction.status
            case _:
                return _failed(question, answer)
    if missing is not None:
        error = Failure(FailureKind.TRANSIENT, f"Paystack has no transaction {missing}, which it had opened")
        return Look(question=question, failure=error, error=ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND)
    if question.given_up and (fact is None or isinstance(fact, InProgress)):
        fact = NotPaid(question.payment.reference, expired=True)
    return Look(question=question, fact=fact, gateway_status=gateway_status, found=found)


def _failed(question: Question, answer: Answer[VerifiedTransaction | None]) -> Look:
    match answer:
        case Done():
            reason, code = "the answer names another reference", ErrorCode.GATEWAY_ERROR
        case Refused(_, message, _):
            reason, code = message, ErrorCode.PAYSTACK_API_ERROR
        case Unknown(reason, code) | NotSent(reason, code):
            pass
        case NotNow(seconds, why, error):
            return Look(question=question, failure=Failure(FailureKind.UNAVAILABLE, why, seconds), error=error)
        case _:
            assert_never(answer)
    return Look(question=question, failure=Failure(FailureKind.TRANSIENT, f"verify: {reason}"), error=code)


def _look_of(question: Question, result: Look | Exception) -> Look:
    if isinstance(result, Look):
        return result
    # A defect of ours in the middle of a look.
    failure = Failure(FailureKind.TRANSIENT, f"the look raised {type(result).__name__}")
    return Look(question=question, failure=failure, error=ErrorCode.INTERNAL_ERROR)


def _settle(context: JobContext, tx: Connection, looks: Sequence[Look]) -> None:
    """Write what some looks saw. Only the run that still holds a job may write its effect."""
    held = verifications.finish_looks(tx, [(s.job, s.question.looked_at) for s in looks if s.failure is None])
    # All of them now, in the order of their ids: the notes below write payments that no fact has locked.
    payments.lock_payments(tx, [s.question.payment.id for s in looks])
    apply_facts(
        context,
        tx,
        [
            Learned(s.question.payment.id, s.fact, Source.VERIFY, s.job.correlation_id)
            for s in looks
            if s.fact is not None and s.job.id in held
        ],
    )
    for s in looks:
        if s.failure is not None:
            write_failure(tx, context, s.job, s.failure)
    attempts.resolve_looked_at(tx, [one for s in looks if s.job.id in held for one in _resolving(s)])
    verifications.note_looks(tx, [_noted(s) for s in looks if s.failure is None or s.error is not None])


def _resolving(look: Look) -> list[Looked]:
    question = look.question
    return [
        Looked(question.payment.id, reference, question.looked_at, found)
        for reference, found in look.found.items()
        if question.references[reference].is_unknown
    ]


def _noted(look: Look) -> NotedLook:
    return NotedLook(
        payment_id=look.question.payment.id,
        looked_at=look.question.looked_at,
        gateway_status=look.gateway_status,
        error=look.error,
    )
