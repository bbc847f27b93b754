"""Initialize payments: open a transaction at Paystack for each, and keep the address where the customer pays.

Two short transactions around each call. The first claims the jobs and records the calls about to be made; the second
writes what came of them. A call whose answer was lost stays on record as unknown, and the next run asks Paystack about
its reference before anything is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from db import attempts, payments
from db import jobs as ledger
from db.attempts import AttemptOutcome, NewAttempt, SettledAttempt
from db.sealing import UnsealError
from domain.errors import ErrorCode
from domain.jobs import ClaimedJob, JobKind
from domain.payment import Fact, Initialized, Payment, Source
from domain.payment import Refused as InitializationRefused
from domain.retry import Failure, FailureKind, Park, Postpone
from jobs.applying import Learned, apply_facts
from jobs.paystack.answers import Done, NotSent, Refused, Throttled, Unknown
from jobs.paystack.client import InitializeRequest, VerifiedTransaction, is_duplicate_reference
from jobs.paystack.wire import charged_fact
from jobs.settling import settle_together, write_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.connection import Connection
    from db.payments import OrderDetails
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack

# A call seldom takes more than seconds, and at most some tens of them. A run that takes longer than this is taken for
# dead: another run asks Paystack about the reference first, and the old one is fenced off should it wake up after all.
LEASE_SECONDS = 60.0

_ATTEMPT_KIND = "initialize"


@dataclass(frozen=True, slots=True)
class Work:
    """One payment to initialize; `unknown_before` says that an earlier call under its reference was never settled."""

    job: ClaimedJob
    payment: Payment
    request: InitializeRequest
    unknown_before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What came of one run: facts to apply, or a failure to retry after, or a reference to give up.

    `resolved` settles what earlier calls under the reference had left unknown.
    """

    work: Work
    attempt: AttemptOutcome
    fact: Fact | None = None
    source: Source = Source.INITIALIZE
    failure: Failure | None = None
    next_reference: bool = False
    resolved: AttemptOutcome | None = None
    detail: str | None = None

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.work.job


def initialize_payments(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    with context.gateway.seats(len(ids)) as seats:
        work = _begin(context, ids)
        for group in seats.as_they_arrive(partial(initialize_one, context.paystack), work):
            settlements = [_settled(item, result) for item, result in group]
            settle_together(context, settlements, partial(_settle, context))


def _begin(context: JobContext, ids: Sequence[UUID]) -> list[Work]:
    """Claim the jobs and put the calls on record, in one transaction."""
    with context.database.transaction() as tx:
        claimed = ledger.claim_jobs(tx, kind=JobKind.INITIALIZE_PAYMENT, ids=ids, lease_seconds=LEASE_SECONDS)
        if not claimed:
            return []
        job_of = {UUID(job.payload["payment_id"]): job for job in claimed}
        found = payments.get_payments(tx, job_of)
        details = payments.get_order_details(tx, job_of)
        for payment_id in job_of.keys() - found.keys():
            ledger.apply_decision(tx, job_of[payment_id], Park(), error="its payment does not exist")
        requests: dict[UUID, InitializeRequest] = {}
        for payment in found.values():
            try:
                requests[payment.id] = _request_for(context, payment, details[payment.id])
            except UnsealError:
                failure = Failure(FailureKind.TRANSIENT, "no key of ENCRYPTION_KEY opens its e-mail address")
                write_failure(tx, context, job_of[payment.id], failure)
        opened = [
            NewAttempt(job_of[id_].id, job_of[id_].token, id_, request.reference) for id_, request in requests.items()
        ]
        unknown = attempts.open_attempts(tx, kind=_ATTEMPT_KIND, attempts=opened)
    return [Work(job_of[id_], found[id_], request, job_of[id_].id in unknown) for id_, request in requests.items()]


def _request_for(context: JobContext, payment: Payment, order: OrderDetails) -> InitializeRequest:
    return InitializeRequest(
        reference=payment.reference,
        email=context.seal.open(order.email_sealed).decode(),
        money=payment.money,
        channels=order.channels,
        callback_url=order.callback_url or context.callback_url,
        metadata=payment.metadata,
    )


def initialize_one(paystack: Paystack, work: Work) -> Settlement:
    """Call Paystack for one payment and say what came of it. Touches no database, holds nothing."""
    if work.unknown_before:
        return _ask_first(paystack, work)
    return _send(paystack, work)


def _send(paystack: Paystack, work: Work, resolved: AttemptOutcome | None = None) -> Settlement:
    answer = paystack.initialize(work.request)
    match answer:
        case Done(data) if data.reference == work.request.reference:
            fact = Initialized(data.reference, data.access_code, data.authorization_url)
            return Settlement(work=work, attempt=AttemptOutcome.DONE, fact=fact, resolved=resolved)
        case Done():
            return _unknown(work, "the answer names another reference", resolved)
        case Refused() if is_duplicate_reference(answer):
            # An earlier call landed after all. Its URL cannot be had again, so the customer needs a new transaction.
            return _ask_first(paystack, work, landed=True)
        case Refused(_, message, code):
            detail = f"{code}: {message}" if code else message
            fact = InitializationRefused(_code_of(answer), message)
            return Settlement(work=work, attempt=AttemptOutcome.REFUSED, fact=fact, detail=detail, resolved=resolved)
        case Unknown(reason):
            return _unknown(work, reason, resolved)
        case NotSent() | Throttled():
            return _not_sent(work, answer, resolved)
        case _:
            assert_never(answer)


def _ask_first(paystack: Paystack, work: Work, *, landed: bool = False) -> Settlement:
    """Ask what became of the reference before anything is sent again; `landed` when Paystack says that it has it."""
    answer = paystack.verify(work.request.reference)
    match answer:
        case Done(found):
            return _after_asking(paystack, work, found, landed=landed)
        case Refused(_, message, _):
            return _not_sent(work, NotSent(f"verify was refused: {message}"), None)
        case Unknown(reason):
            return _not_sent(work, NotSent(f"verify: {reason}"), None)
        case NotSent() | Throttled():
            return _not_sent(work, answer, None)
        case _:
            assert_never(answer)


def _after_asking(paystack: Paystack, work: Work, found: VerifiedTransaction | None, *, landed: bool) -> Settlement:
    """Go on with what verify found under the reference."""
    if found is None:
        if landed:
            return _not_sent(work, NotSent("Paystack calls the reference a duplicate, yet does not find it"), None)
        return _send(paystack, work, resolved=AttemptOutcome.NOT_SENT)
    attempt = AttemptOutcome.REFUSED if landed else AttemptOutcome.NOT_SENT
    resolved = AttemptOutcome.DONE
    if found.transaction.status == "success":
        fact = charged_fact(found.transaction, found.raw)
        return Settlement(work=work, attempt=attempt, fact=fact, source=Source.VERIFY, resolved=resolved)
    return Settlement(work=work, attempt=attempt, next_reference=True, resolved=resolved)


def _unknown(work: Work, reason: str, resolved: AttemptOutcome | None) -> Settlement:
    failure = Failure(FailureKind.TRANSIENT, f"initialize: {reason}")
    return Settlement(work=work, attempt=AttemptOutcome.UNKNOWN, failure=failure, detail=reason, resolved=resolved)


def _not_sent(work: Work, answer: NotSent | Throttled, resolved: AttemptOutcome | None) -> Settlement:
    match answer:
        case NotSent(reason):
            failure = Failure(FailureKind.TRANSIENT, reason)
        case Throttled(seconds):
            failure = Failure(FailureKind.UNAVAILABLE, "Paystack's rate limit is reached", seconds)
    outcome = AttemptOutcome.NOT_SENT
    return Settlement(work=work, attempt=outcome, failure=failure, detail=failure.error, resolved=resolved)


def _code_of(refused: Refused) -> ErrorCode:
    if refused.code == "unsupported_currency" or "currency not supported" in refused.message.lower():
        return ErrorCode.CURRENCY_NOT_SUPPORTED
    return ErrorCode.PAYSTACK_API_ERROR


def _settled(work: Work, result: Settlement | Exception) -> Settlement:
    if isinstance(result, Settlement):
        return result
    # A defect of ours in the middle of a call: whether anything was sent is not known.
    return _unknown(work, f"the call raised {type(result).__name__}", None)


def _settle(context: JobContext, tx: Connection, settlements: Sequence[Settlement]) -> None:
    """Write what came of some runs. Only the run that still holds a job may write its effect."""
    held = ledger.finish_jobs(tx, [s.job for s in settlements if s.fact is not None])
    apply_facts(
        tx,
        [
            Learned(s.work.payment.id, s.fact, s.source, s.job.correlation_id)
            for s in settlements
            if s.fact is not None and s.job.id in held
        ],
    )
    for settlement in settlements:
        if settlement.failure is not None:
            write_failure(tx, context, settlement.job, settlement.failure)
        elif settlement.next_reference:
            _start_over(tx, settlement.job, settlement.work.payment)
    _settle_attempts(tx, settlements)


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
                reference=s.work.request.reference,
                outcome=s.resolved,
                detail="found by verify" if s.resolved is AttemptOutcome.DONE else "not found by verify",
            )
    attempts.settle_attempts(tx, [SettledAttempt(s.job.id, s.job.token, s.attempt, s.detail) for s in settlements])
