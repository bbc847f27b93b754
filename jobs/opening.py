"""Calling Paystack to open a transaction under a payment's reference, once: what is sent, and what its answers mean.

A call whose answer was lost is unknown, and Paystack is asked about its reference before anything is sent again. What
differs between initializing and charging a saved method is an `Opening`. Nothing here touches the database but what an
opening reads to prepare its requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, assert_never
from uuid import UUID

from db.attempts import AttemptOutcome
from domain.jobs import ClaimedJob, JobKind
from domain.payment import Fact, Payment, Source
from domain.retry import Failure, FailureKind
from jobs.paystack.answers import Answer, Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.client import VerifiedTransaction, is_duplicate_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.connection import Connection
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack

Request = TypeVar("Request")
Opened = TypeVar("Opened")


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing may be sent for this payment any more; the fact says why, where the payment does not know yet."""

    fact: Fact | None = None


@dataclass(frozen=True, slots=True)
class Work(Generic[Request]):
    """One payment to open a transaction for.

    `unknown_for` says that the outcome of a call under its reference is unknown, and how long ago the newest was sent.
    """

    job: ClaimedJob
    payment: Payment
    request: Request | Withheld
    unknown_for: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an answer means: a fact, a reason to run again later, or a reference to give up.

    `verify_later` has Paystack asked again some time after: the last word is not spoken.
    """

    fact: Fact | None = None
    failure: Failure | None = None
    next_reference: bool = False
    verify_later: bool = False


class Opening(Protocol[Request, Opened]):
    """One way to open a transaction under a payment's reference."""

    @property
    def kind(self) -> JobKind:
        """The kind of its jobs."""
        ...

    @property
    def source(self) -> Source:
        """Who tells what its answers say."""
        ...

    def prepare(
        self, context: JobContext, tx: Connection, pending: Sequence[Payment]
    ) -> Mapping[UUID, Request | Withheld | Failure]:
        """Make the request of each payment, inside the transaction that puts the calls on record."""
        ...

    def send(self, paystack: Paystack, request: Request) -> Answer[Opened]:
        """Make the call."""
        ...

    def read(self, payment: Payment, opened: Opened) -> Reading | Unknown:
        """Read what Paystack answers when it did what it was asked."""
        ...

    def refused(self, refused: Refused) -> Fact:
        """Read a refusal: nothing was done, and the next time would end the same way."""
        ...

    def found(self, work: Work[Request], found: VerifiedTransaction) -> Reading:
        """Read what verify says of a transaction whose own answer was lost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What came of one run; `resolved` settles what earlier calls under the reference had left unknown."""

    work: Work[Any]
    attempt: AttemptOutcome
    reading: Reading
    source: Source
    resolved: AttemptOutcome | None = None
    detail: str | None = None

    @property
    def job(self) -> ClaimedJob:
        """The job that is settled."""
        return self.work.job

    @property
    def is_last(self) -> bool:
        """Whether the job is done."""
        return self.reading.failure is None and not self.reading.next_reference


def open_one(opening: Opening[Request, Any], paystack: Paystack, work: Work[Request]) -> Settlement:
    """Call Paystack for one payment and say what came of it. Touches no database, holds nothing."""
    if work.unknown_for is not None:
        return _ask_first(opening, paystack, work)
    return _send(opening, paystack, work)


def _send(
    opening: Opening[Request, Any], paystack: Paystack, work: Work[Request], resolved: AttemptOutcome | None = None
) -> Settlement:
    request = work.request
    settled = partial(Settlement, work=work, source=opening.source, resolved=resolved)
    if isinstance(request, Withheld):
        reading = Reading(fact=request.fact)
        return settled(attempt=AttemptOutcome.NOT_SENT, reading=reading, source=Source.PAYFLEET)
    answer = opening.send(paystack, request)
    match answer:
        case Done(opened):
            reading = opening.read(work.payment, opened)
            if isinstance(reading, Unknown):
                return _unknown(opening, work, reading.reason, resolved)
            return settled(attempt=AttemptOutcome.DONE, reading=reading)
        case Refused() if is_duplicate_reference(answer):
            return _ask_first(opening, paystack, work, landed=True)  # an earlier call arrived after all
        case Refused(_, message, code):
            detail = f"{code}: {message}" if code else message
            return settled(attempt=AttemptOutcome.REFUSED, reading=Reading(fact=opening.refused(answer)), detail=detail)
        case Unknown(reason):
            return _unknown(opening, work, reason, resolved)
        case NotSent() | NotNow():
            return _not_sent(opening, work, answer, resolved)
        case _:
            assert_never(answer)


def _ask_first(
    opening: Opening[Request, Any], paystack: Paystack, work: Work[Request], *, landed: bool = False
) -> Settlement:
    """Ask what became of the reference before anything is sent again; `landed` when Paystack says that it has it."""
    answer = paystack.verify(work.payment.reference)
    match answer:
        case Done(found) if found is not None:
            return _after_finding(opening, work, found, landed=landed)
        case Done() if landed:
            odd = NotSent("Paystack calls the reference a duplicate, yet does not find it")
            return _not_sent(opening, work, odd)
        case Done():
            return _send(opening, paystack, work, resolved=AttemptOutcome.NOT_SENT)
        case Refused(_, message, _):
            return _not_sent(opening, work, NotSent(f"verify was refused: {message}"))
        case Unknown(reason):
            return _not_sent(opening, work, NotSent(f"verify: {reason}"))
        case NotSent() | NotNow():
            return _not_sent(opening, work, answer)
        case _:
            assert_never(answer)


def _after_finding(
    opening: Opening[Request, Any], work: Work[Request], found: VerifiedTransaction, *, landed: bool
) -> Settlement:
    """Go on with what verify found under the reference."""
    reading = opening.found(work, found)
    if reading.failure is not None:
        # Too early to tell: what is unknown stays so, and a call that landed unnoticed counts from now.
        attempt = AttemptOutcome.UNKNOWN if landed else AttemptOutcome.NOT_SENT
        detail = reading.failure.error
        return Settlement(work=work, attempt=attempt, reading=reading, source=Source.VERIFY, detail=detail)
    if reading.next_reference and isinstance(work.request, Withheld):
        reading = Reading(fact=work.request.fact)
    attempt = AttemptOutcome.REFUSED if landed else AttemptOutcome.NOT_SENT
    return Settlement(work=work, attempt=attempt, reading=reading, source=Source.VERIFY, resolved=AttemptOutcome.DONE)


def _unknown(opening: Opening[Any, Any], work: Work[Any], reason: str, resolved: AttemptOutcome | None) -> Settlement:
    return Settlement(
        work=work,
        attempt=AttemptOutcome.UNKNOWN,
        reading=Reading(failure=Failure(FailureKind.TRANSIENT, f"{opening.kind}: {reason}")),
        source=opening.source,
        detail=reason,
        resolved=resolved,
    )


def _not_sent(
    opening: Opening[Any, Any], work: Work[Any], answer: NotSent | NotNow, resolved: AttemptOutcome | None = None
) -> Settlement:
    match answer:
        case NotSent(reason):
            failure = Failure(FailureKind.TRANSIENT, reason)
        case NotNow(seconds, reason):
            failure = Failure(FailureKind.UNAVAILABLE, reason, seconds)
    return Settlement(
        work=work,
        attempt=AttemptOutcome.NOT_SENT,
        reading=Reading(failure=failure),
        source=opening.source,
        detail=failure.error,
        resolved=resolved,
    )


def settlement_of(opening: Opening[Any, Any], work: Work[Any], result: Settlement | Exception) -> Settlement:
    if isinstance(result, Settlement):
        return result
    # A defect of ours in the middle of a call: whether anything was sent is not known.
    return _unknown(opening, work, f"the call raised {type(result).__name__}", None)
