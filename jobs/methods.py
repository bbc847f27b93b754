"""Ask Paystack about saved methods: whether one that was added can be charged, and to charge one no more.

Neither moves money nor does harm when done twice, so there is no record of calls: a job whose run died runs again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from pydantic import SecretStr

from db import jobs as ledger
from db import methods
from db.sealing import UnsealError
from domain.errors import ErrorCode
from domain.jobs import ClaimedJob, JobKind
from domain.method import Authorization, MethodStatus, PaymentMethod
from domain.retry import Failure, FailureKind, Park
from jobs.paystack.answers import Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.wire import authorization_of
from jobs.postponing import postponed
from jobs.saving import renew_same, sealed_by
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from db.connection import Connection
    from jobs.context import JobContext
    from jobs.paystack.authorizations import Customer
    from jobs.paystack.client import Paystack

LEASE_SECONDS = 60.0  # twice the longest call


@dataclass(frozen=True, slots=True)
class Question:
    """One method to ask about, its secrets opened."""

    job: ClaimedJob
    method: PaymentMethod
    code: str = field(repr=False)
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a method that was added cannot be charged."""

    code: ErrorCode
    message: str


Verdict = Authorization | Rejection | Failure | None
"""What Paystack says; None when nothing is left to write."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one question."""

    question: Question
    verdict: Verdict

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.question.job


def check_methods(context: JobContext, ids: Sequence[UUID]) -> None:
    """Find out whether methods that were added can be charged; nothing becomes active without Paystack's word."""
    _ask(context, JobKind.CHECK_PAYMENT_METHOD, ids, check_one)


def deactivate_methods(context: JobContext, ids: Sequence[UUID]) -> None:
    """Have Paystack charge methods no more that Payfleet charges no more already."""
    _ask(context, JobKind.DEACTIVATE_PAYMENT_METHOD, ids, deactivate_one)


def _ask(
    context: JobContext, kind: JobKind, ids: Sequence[UUID], ask_one: Callable[[Paystack, Question], Verdict]
) -> None:
    if postponed(context, ids):
        return
    with context.gateway.seats(len(ids)) as seats:
        questions = _begin(context, kind, ids)
        for group in seats.as_they_arrive(partial(ask_one, context.paystack), questions):
            settlements = [Settlement(question, _verdict(result)) for question, result in group]
            settle_together(context, settlements, partial(_settle, context))


def _begin(context: JobContext, kind: JobKind, ids: Sequence[UUID]) -> list[Question]:
    """Claim the jobs and open their methods' secrets."""
    questions: list[Question] = []
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=kind, ids=ids, lease_seconds=LEASE_SECONDS)
        job_of = {UUID(job.payload["payment_method_id"]): job for job in claimed}
        found = methods.get_methods(tx, job_of)
        for method_id, job in job_of.items():
            method = found.get(method_id)
            if method is None:
                ledger.apply_decision(tx, job, Park(), error="its payment method does not exist")
                continue
            try:
                code, email = context.seal.open(method.authorization_sealed), context.seal.open(method.email_sealed)
                questions.append(Question(job, method, code.decode(), email.decode()))
            except UnsealError:
                write_failure(tx, context, job, Failure(FailureKind.TRANSIENT, "no key of ENCRYPTION_KEY opens it"))
    return questions


def check_one(paystack: Paystack, question: Question) -> Verdict:
    """Look for the code among those that Paystack has for the e-mail address."""
    answer = paystack.fetch_customer(question.email)
    if not isinstance(answer, Done):
        return _failure_of(answer)
    authorization = None if answer.data is None else _find(answer.data, question)
    if authorization is None:
        return Rejection(
            ErrorCode.PAYSTACK_AUTHORIZATION_INVALID, "Paystack does not know this code for this e-mail address."
        )
    if not authorization.reusable:
        return Rejection(ErrorCode.INVALID_PAYMENT_METHOD, "Paystack does not let this method be charged again.")
    return authorization


def deactivate_one(paystack: Paystack, question: Question) -> Verdict:
    """Have Paystack forget the code."""
    answer = paystack.deactivate_authorization(question.code)
    return None if isinstance(answer, Done) else _failure_of(answer)


def _find(customer: Customer, question: Question) -> Authorization | None:
    email = customer.email or SecretStr(question.email)
    known = (authorization_of(data, email) for data in customer.authorizations)
    return next((one for one in known if one is not None and one.code == question.code), None)


def _failure_of(answer: Refused | Unknown | NotSent | NotNow) -> Failure:
    match answer:
        case Refused(_, message, _):
            return Failure(FailureKind.TRANSIENT, f"refused: {message}")
        case Unknown(reason) | NotSent(reason):
            return Failure(FailureKind.TRANSIENT, reason)
        case NotNow(seconds, reason):
            return Failure(FailureKind.UNAVAILABLE, reason, seconds)
        case _:
            assert_never(answer)


def _verdict(result: Verdict | Exception) -> Verdict:
    if isinstance(result, Exception):
        return Failure(FailureKind.TRANSIENT, f"the call raised {type(result).__name__}")
    return result


def _settle(context: JobContext, tx: Connection, settlements: Sequence[Settlement]) -> None:
    """Write what Paystack said. Only the run that still holds a job may write its effect."""
    held = ledger.finish_jobs(tx, [s.job for s in settlements if not isinstance(s.verdict, Failure)])
    for settlement in sorted(settlements, key=lambda s: s.question.method.user_id):
        if isinstance(settlement.verdict, Failure):
            write_failure(tx, context, settlement.job, settlement.verdict)
        elif settlement.verdict is not None and settlement.job.id in held:
            _conclude(context, tx, settlement.question.method, settlement.verdict)


def _conclude(context: JobContext, tx: Connection, asked: PaymentMethod, verdict: Authorization | Rejection) -> None:
    methods.lock_user(tx, asked.user_id)
    if methods.get_methods(tx, [asked.id])[asked.id].status is not MethodStatus.PENDING:
        return  # its owner has taken it away meanwhile
    match verdict:
        case Authorization():
            known = renew_same(tx, context.seal, asked.user_id, verdict)
            if known is not None:
                methods.merge_method(tx, asked.id, into=known)
            else:
                sealed = sealed_by(context.seal, verdict)
                methods.activate_method(tx, asked.id, user_id=asked.user_id, sealed=sealed)
        case Rejection(code, message):
            methods.reject_method(tx, asked.id, code=code, message=message)
        case _:
            assert_never(verdict)
