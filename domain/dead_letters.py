"""Dead jobs: which of them are meant, how they group, and what retrying or discarding one means.

Discarding must not lose sight of money: what may be under way at Paystack is refused, what certainly never left is
ended in order, and what only told of something is asked about instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never
from uuid import UUID

from domain.fingerprint import fingerprint, generalized
from domain.ids import Prefix, show
from domain.instants import instant
from domain.jobs import JobKind
from domain.method import MethodStatus
from domain.payment import PAID, PaymentStatus
from domain.refund import UNDER_WAY, RefundStatus, never_left

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from domain.method import PaymentMethod
    from domain.payment import Payment
    from domain.refund import Refund

_NOTHING_LOST = "nothing is lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """A job that is not tried any more, as its row holds it.

    Kind and queue are plain text: the ledger may hold kinds of another release.
    """

    id: UUID
    kind: str
    queue: str
    payload: Mapping[str, Any]
    dedupe_key: str | None
    attempts: int
    failures: int
    error: str
    correlation_id: str
    created_at: datetime
    died_at: datetime

    def id_of(self, name: str) -> UUID | None:
        """Read an id out of the payload; None when there is none, or nothing like one."""
        try:
            return UUID(str(self.payload[name]))
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead jobs are meant: all for which everything that is set holds. `error` is a fingerprint."""

    kind: str | None = None
    queue: str | None = None
    error: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    def fits(self, job: DeadJob) -> bool:
        """Whether a job is meant."""
        return (
            self.kind in {None, job.kind}
            and self.queue in {None, job.queue}
            and (self.since is None or job.died_at >= self.since)
            and (self.before is None or job.died_at < self.before)
            and self.error in {None, fingerprint(job.error)}
        )


@dataclass(slots=True)
class Group:
    """Dead jobs of one kind with the same error, but for the payment it names; `example` died last."""

    kind: str
    queue: str
    fingerprint: str
    error: str
    count: int
    first_at: datetime
    last_at: datetime
    example: UUID


def grouped(jobs: Iterable[DeadJob]) -> list[Group]:
    """Group dead jobs by kind, queue and error, the largest group first."""
    groups: dict[tuple[str, str, str], Group] = {}
    for job in jobs:
        key = (job.kind, job.queue, fingerprint(job.error))
        group = groups.get(key)
        if group is None:
            groups[key] = Group(*key, generalized(job.error), 1, job.died_at, job.died_at, job.id)
            continue
        group.count += 1
        group.first_at = min(group.first_at, job.died_at)
        if job.died_at >= group.last_at:
            group.last_at, group.example = job.died_at, job.id
    return sorted(groups.values(), key=lambda group: (-group.count, group.kind, group.fingerprint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a webhook that was never applied says, as far as Payfleet acts on it.

    `event` is None when it cannot be read, `payment_id` when it is about no payment. `refund` is how a refund of the
    payment is said to stand; None for an event about the payment itself.
    """

    webhook_id: UUID
    event: str | None = None
    payment_id: UUID | None = None
    refund: RefundStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a dead job is about, as it stands; None for what it is not about, and for what does not exist.

    `told` is None too for a webhook that has been applied. `twin` is a live job that does the same work.
    """

    twin: UUID | None = None
    payment: Payment | None = None
    refund: Refund | None = None
    is_unsettled: bool = False
    method: PaymentMethod | None = None
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The job goes, and nothing else changes; `meaning`, here and below, says in a person's words what follows."""

    meaning: str


@dataclass(frozen=True, slots=True)
class EndRefund:
    """The job goes, its refund fails, and the money promised to it is free again."""

    meaning: str
    refund: Refund


@dataclass(frozen=True, slots=True)
class AskInstead:
    """The job goes, and Paystack is asked about what its webhook told."""

    meaning: str
    payment: Payment
    refund: RefundStatus | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """The job is not discarded."""

    meaning: str


Discarding = Drop | EndRefund | AskInstead | Refuse
"""What discarding a dead job does."""


def decide_discarding(job: DeadJob, subject: Subject) -> Discarding:
    """Decide what discarding a job does to what it is about."""
    if subject.twin is not None:
        return Drop(f"{show(Prefix.JOB, subject.twin)} does the same work: {_NOTHING_LOST}")
    try:
        kind = JobKind(job.kind)
    except ValueError:
        return Refuse("this release does not know its kind, nor what would be lost with it")
    match kind:
        case JobKind.INITIALIZE_PAYMENT | JobKind.CHARGE_PAYMENT_METHOD:
            return Drop(_without_opening(subject.payment))
        case JobKind.VERIFY_PAYMENT:
            return Drop(_without_look(subject.payment))
        case JobKind.CHECK_PAYMENT_METHOD:
            return Drop(_without_check(subject.method))
        case JobKind.DEACTIVATE_PAYMENT_METHOD:
            return Drop("Payfleet charges the method no more either way; Paystack goes on knowing its code")
        case JobKind.SEND_REFUND:
            return _without_sending(subject)
        case JobKind.CHECK_REFUND:
            return _without_looking_after(subject.refund)
        case JobKind.APPLY_WEBHOOK:
            return _without_event(subject)
        case _:
            assert_never(kind)


def _without_opening(payment: Payment | None) -> str:
    if payment is None:
        return f"its payment does not exist: {_NOTHING_LOST}"
    if payment.status is not PaymentStatus.PENDING:
        return f"its payment is {payment.status.lower()}: {_NOTHING_LOST}"
    until = instant(payment.expires_at) or "somebody asks for it to be verified"
    return f"its payment stays pending until {until}: then Paystack is asked, and it ends, which frees its order"


def _without_look(payment: Payment | None) -> str:
    if payment is None:
        return f"its payment does not exist: {_NOTHING_LOST}"
    if payment.status in PAID:
        return f"its payment is {payment.status.lower()}: {_NOTHING_LOST}"
    if payment.status in {PaymentStatus.PENDING, PaymentStatus.PROCESSING}:
        return "Paystack is not asked now, but when the payment's next look is due"
    return f"its payment stays {payment.status.lower()}, unless a webhook or somebody's question tells of money"


def _without_check(method: PaymentMethod | None) -> str:
    if method is None or method.status is not MethodStatus.PENDING:
        state = "does not exist" if method is None else f"is {method.status.lower()}"
        return f"its payment method {state}: {_NOTHING_LOST}"
    return "its payment method stays pending, and is checked anew some minutes later"


def _without_sending(subject: Subject) -> Discarding:
    refund = subject.refund
    if refund is None:
        return Drop(f"its refund does not exist: {_NOTHING_LOST}")
    if refund.status is not RefundStatus.PENDING:
        return Drop(f"its refund is {refund.status.lower()}: {_NOTHING_LOST}")
    if never_left(refund, is_unsettled=subject.is_unsettled):
        name = show(Prefix.REFUND, refund.id)
        return EndRefund(f"{name} never reached Paystack: it fails, and its money can be refunded again", refund)
    return Refuse(
        f"Paystack may have {show(Prefix.REFUND, refund.id)}: its answer was lost. Retried, it is searched for first,"
        " and sent again only by the rule of ENABLE_REFUND_RESEND"
    )


def _without_looking_after(refund: Refund | None) -> Discarding:
    if refund is None or refund.status not in UNDER_WAY:
        state = "does not exist" if refund is None else f"is {refund.status.lower()}"
        return Drop(f"its refund {state}: {_NOTHING_LOST}")
    name = show(Prefix.REFUND, refund.id)
    return Refuse(f"Paystack has {name}, and nothing else asks how it ends: its money would stay promised for ever")


def _without_event(subject: Subject) -> Discarding:
    told = subject.told
    if told is None:
        return Drop(f"its webhook has been dealt with, or does not exist: {_NOTHING_LOST}")
    if told.event is None:
        return Drop("what its webhook says cannot be read, and is never applied; Paystack does not send it again")
    if told.payment_id is None or subject.payment is None:
        return Drop(f"its {told.event} is about no payment of Payfleet's: {_NOTHING_LOST}")
    about = "" if told.refund is None else "the refunds of "
    payment = show(Prefix.PAYMENT, subject.payment.id)
    meaning = f"its {told.event} is not applied; Paystack is asked about {about}{payment} instead"
    return AskInstead(meaning, subject.payment, told.refund)


def meaning_of_retry(job: DeadJob, subject: Subject) -> str:
    """Say what retrying a job does, in a person's words."""
    if subject.twin is not None:
        return f"it gives way: {show(Prefix.JOB, subject.twin)} does the same work"
    if job.kind == JobKind.SEND_REFUND and subject.is_unsettled:
        return "it runs again, and searches Paystack's list of refunds before anything is sent"
    if job.kind in {JobKind.INITIALIZE_PAYMENT, JobKind.CHARGE_PAYMENT_METHOD}:
        return "it runs again, and asks Paystack about its reference first where an earlier answer was lost"
    return "it runs again, with all its tries"
