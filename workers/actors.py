"""The actors: each hands the ids of a message to its use case and returns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import dramatiq
import structlog
import tenacity

from domain.errors import UnavailableError
from domain.jobs import QUEUE_OF, JobKind
from jobs.charge import charge_payment_methods
from jobs.initialize import initialize_payments
from jobs.methods import check_methods, deactivate_methods
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.verify import verify_payments
from jobs.webhooks import apply_webhooks

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from dramatiq import Broker

    from jobs.context import JobContext

_log = structlog.get_logger(__name__)

USE_CASES: dict[JobKind, Callable[[JobContext, Sequence[UUID]], None]] = {
    JobKind.INITIALIZE_PAYMENT: initialize_payments,
    JobKind.CHARGE_PAYMENT_METHOD: charge_payment_methods,
    JobKind.CHECK_PAYMENT_METHOD: check_methods,
    JobKind.DEACTIVATE_PAYMENT_METHOD: deactivate_methods,
    JobKind.SEND_REFUND: send_refunds,
    JobKind.CHECK_REFUND: check_refunds,
    JobKind.VERIFY_PAYMENT: verify_payments,
    JobKind.APPLY_WEBHOOK: apply_webhooks,
}


def declare_actors(broker: Broker, context: JobContext, stopping: threading.Event) -> None:
    """Register one actor for each kind of job, named as the kind, on the kind's queue."""
    for kind, use_case in USE_CASES.items():
        dramatiq.Actor(
            _actor(context, use_case, stopping),
            broker=broker,
            actor_name=kind.value,
            queue_name=QUEUE_OF[kind].value,
            priority=0,
            options={"max_retries": 0},
        )


def _actor(
    context: JobContext, use_case: Callable[[JobContext, Sequence[UUID]], None], stopping: threading.Event
) -> Callable[[list[str]], None]:
    # While Postgres is away the message waits here, unacknowledged: rejecting it would fill the dead-letter queue with
    # jobs that are not dead.
    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UnavailableError),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5.0) + tenacity.wait_random(0, 0.2),
        sleep=tenacity.sleep_using_event(stopping),
        stop=tenacity.stop_when_event_set(stopping),
        reraise=True,
    )

    def run(ids: list[str]) -> None:
        try:
            patiently(use_case, context, [UUID(hex=text) for text in ids])
        except UnavailableError as error:
            # Only when stopping. The message is given up, not rejected as if it were dead; the sweeper has its jobs.
            _log.warning("actor.gave_up", jobs=len(ids), error=str(error))

    return run
