"""Dramatiq's RabbitMQ broker, hardened: quorum queues, confirms, no delay queues, dead letters without expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries

from workers.topology import connection_parameters, declare_queue

if TYPE_CHECKING:
    from dramatiq import Broker, Middleware


class LedgerBroker(RabbitmqBroker):
    """A RabbitMQ broker for work that the job ledger owns.

    Delays, retries and dead letters live in Postgres, so Dramatiq's delay queues (which hold messages unacknowledged in
    a worker's memory) are neither declared nor consumed, and a message carries nothing but ids.
    """

    def __init__(self, url: str) -> None:
        """Prepare a broker; it connects when first used, one connection for each thread."""
        super().__init__(url=url, confirm_delivery=True, middleware=_middleware())
        self.parameters = connection_parameters(url, "worker")

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Declare a queue without the delay queue that Dramatiq pairs with it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)  # pyright: ignore[reportUnknownMemberType]

    def _declare_queue(self, queue_name: str) -> None:
        declare_queue(self.channel, queue_name)

    def _declare_dq_queue(self, queue_name: str) -> None:
        """Declare no delay queue."""

    def _declare_xq_queue(self, queue_name: str) -> None:
        """Declare nothing more: `_declare_queue` made the dead-letter queue."""


def in_process_broker() -> Broker:
    """A broker inside this process, for the embedded stack: the ledger brings back whatever a crash loses."""
    return StubBroker(middleware=_middleware())


def _middleware() -> list[Middleware]:
    # Retries with none allowed: a message whose actor raises is rejected and shows up in the dead-letter queue. Without
    # this middleware it would be acknowledged as if done. A time limit by Dramatiq would kill threads in the middle
    # of anything; every wait here has its own.
    return [Retries(max_retries=0)]
