"""The worker process: for each queue its own consumer and its own threads, so that no queue can starve another."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

import structlog
from dramatiq import Worker

from domain.jobs import Queue
from workers.actors import declare_actors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dramatiq import Broker

    from jobs.context import JobContext

_log = structlog.get_logger(__name__)

# A thread of `payments` mostly waits: for seats before its batch, for a slow straggler after it. Many of them cost
# little, and it takes as many stragglers at once to hold the queue up.
THREADS_OF: dict[Queue, int] = {Queue.PAYMENTS: 24, Queue.VERIFICATIONS: 8, Queue.REFUNDS: 8, Queue.WEBHOOKS: 3}
GATEWAY_THREADS = 96  # calls under way at once in one process: three full batches

_WATCH_SECONDS = 1.0
_STOP_SECONDS = 25  # under the 30 s that orchestrators give between SIGTERM and SIGKILL


class WorkerDiedError(RuntimeError):
    """A thread of the worker is gone; the process must be started anew."""


class QueueWorkers:
    """One Dramatiq worker for each queue, sharing a broker."""

    def __init__(
        self,
        broker: Broker,
        context: JobContext,
        queues: Iterable[Queue],
        watched: Sequence[threading.Thread] = (),
    ) -> None:
        """Register the actors and prepare the workers; nothing is consumed yet."""
        self._watched = watched
        self._stopping = threading.Event()
        declare_actors(broker, context, self._stopping)
        self._broker = broker
        # Dramatiq warns about a second worker on one broker; here each queue has its own on purpose.
        broker.logger.addFilter(lambda record: "same type twice" not in record.getMessage())
        self._workers = [
            Worker(broker, queues={queue.value}, worker_threads=THREADS_OF[queue], worker_timeout=500)
            for queue in queues
        ]

    def start(self) -> None:
        """Begin to consume."""
        for worker in self._workers:
            worker.start()

    def check(self) -> None:
        """See that every thread lives: Dramatiq does not notice one that died, and would just get slower.

        Raises:
            WorkerDiedError: one does not.

        """
        threads: list[threading.Thread] = list(self._watched)
        for worker in self._workers:
            threads += [*worker.workers, *worker.consumers.values()]
        dead = [thread.name for thread in threads if not thread.is_alive()]
        if dead:
            message = f"threads died: {', '.join(dead)}"
            raise WorkerDiedError(message)

    def stop(self) -> None:
        """Finish what is under way, give back what was only fetched, and close."""
        self._stopping.set()
        stops = [threading.Thread(target=worker.stop, args=(_STOP_SECONDS * 1000,)) for worker in self._workers]
        for thread in stops:
            thread.start()
        for thread in stops:
            thread.join()
        self._broker.close()


def run_worker(
    broker: Broker,
    context: JobContext,
    queues: Iterable[Queue],
    stop: threading.Event,
    watched: Sequence[threading.Thread] = (),
) -> None:
    """Consume until told to stop; `watched` are other threads that the process cannot do without.

    Raises:
        WorkerDiedError: a thread died; the jobs it held come back by their leases.

    """
    workers = QueueWorkers(broker, context, queues, watched)
    workers.start()
    gc.freeze()  # what is here now stays: the collector need not walk it again and again
    _log.info("worker.started", pid=os.getpid())
    try:
        while not stop.wait(_WATCH_SECONDS):
            workers.check()
    finally:
        workers.stop()
        _log.info("worker.stopped")
