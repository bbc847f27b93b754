"""The vocabulary of the job ledger: kinds of work, the queues that carry them, and a claimed job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


class Queue(StrEnum):
    """The RabbitMQ queues; each has its own worker threads, and a dead-letter queue named `<queue>.XQ`."""

    PAYMENTS = "payments"
    VERIFICATIONS = "verifications"
    REFUNDS = "refunds"
    WEBHOOKS = "webhooks"


class JobKind(StrEnum):
    """What a job does; the name is also its actor's name in messages, so renaming one strands old messages."""

    INITIALIZE_PAYMENT = "initialize_payment"
    CHARGE_PAYMENT_METHOD = "charge_payment_method"
    VERIFY_PAYMENT = "verify_payment"
    CHECK_PAYMENT_METHOD = "check_payment_method"
    DEACTIVATE_PAYMENT_METHOD = "deactivate_payment_method"
    SEND_REFUND = "send_refund"
    CHECK_REFUND = "check_refund"
    APPLY_WEBHOOK = "apply_webhook"


QUEUE_OF: dict[JobKind, Queue] = {
    JobKind.INITIALIZE_PAYMENT: Queue.PAYMENTS,
    JobKind.CHARGE_PAYMENT_METHOD: Queue.PAYMENTS,
    JobKind.VERIFY_PAYMENT: Queue.VERIFICATIONS,
    JobKind.CHECK_PAYMENT_METHOD: Queue.VERIFICATIONS,
    JobKind.DEACTIVATE_PAYMENT_METHOD: Queue.VERIFICATIONS,
    JobKind.SEND_REFUND: Queue.REFUNDS,
    JobKind.CHECK_REFUND: Queue.REFUNDS,
    JobKind.APPLY_WEBHOOK: Queue.WEBHOOKS,
}


def dedupe_key(kind: JobKind, subject: UUID) -> str:
    """Name the work of one kind on one subject: as long as a job of that name waits, no second one is made."""
    return f"{kind}:{subject}"


class JobState(StrEnum):
    """Where a job stands; a job that is done has no row any more."""

    READY = "ready"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job this process holds until its lease ends.

    `token` is the fencing token: the number of times the job has been claimed. Only the run that holds the newest
    token may settle it. `failures` counts the runs that failed; being postponed is not a failure.
    """

    id: UUID
    token: int
    failures: int
    payload: Mapping[str, Any]
    correlation_id: str
