"""The relay: moves what is due from Postgres to RabbitMQ, and the only one who does.

Jobs are marked as sent, and that is committed, before they are published: publishing inside the transaction would hold
row locks across the network, and a fast worker would meet rows that are not sent yet. What RabbitMQ does not confirm
goes back to ready; if the relay dies in between, the sweeper does that. Events go the other way round, since nothing
else keeps them alive: leased, published, and marked published only after the confirm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import orjson
import structlog
from dramatiq import Message

from db import events, jobs
from domain.errors import UnavailableError
from domain.events import cloud_event
from domain.ids import Prefix, show
from workers.publishing import Outgoing
from workers.topology import dead_letter_queue

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from db.connection import Database
    from db.jobs import DueJob
    from domain.events import Event
    from workers.publishing import Publisher

_log = structlog.get_logger(__name__)

BATCH_ROWS_MAX = 500  # one round of statements and confirms; about 20 ms of work
IDS_PER_MESSAGE_MAX = 32  # beyond this, larger batches gained nothing and one slow batch holds more back
EVENT_LEASE_SECONDS = 30.0  # three times what a publish may take

_BUSY_PAUSE_SECONDS = 0.02  # lets a batch gather; the price is this much latency
_IDLE_PAUSE_SECONDS_MAX = 0.05  # twenty polls a second cost an idle relay about a hundredth of a core
_BROKER_PAUSE_SECONDS = 1.0
_FULL_SCAN_SECONDS = 30.0
_DEAD_SCAN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one round moved."""

    jobs: int
    events: int
    dead: int

    @property
    def full(self) -> bool:
        """Whether there is probably more to move at once."""
        return max(self.jobs, self.events) >= BATCH_ROWS_MAX

    @property
    def idle(self) -> bool:
        """Whether nothing was due."""
        return self.jobs + self.events + self.dead == 0


class Relay:
    """One relay; any number of them may run side by side."""

    def __init__(self, database: Database, publisher: Publisher, exchange: str) -> None:
        """Take the ledger's database, the way out, and the name of the events' exchange."""
        self._database = database
        self._publisher = publisher
        self._exchange = exchange
        self._next_full_scan = 0.0
        self._next_dead_scan = 0.0

    def run(self, stop: threading.Event) -> None:
        """Move what is due until told to stop; rests only when a round was not full."""
        pause = _BUSY_PAUSE_SECONDS
        while not stop.is_set():
            try:
                counts = self.run_once()
            except UnavailableError as error:
                _log.warning("relay.unavailable", error=str(error))
                stop.wait(_BROKER_PAUSE_SECONDS)
                continue
            if counts.full:
                continue
            pause = min(pause * 1.5, _IDLE_PAUSE_SECONDS_MAX) if counts.idle else _BUSY_PAUSE_SECONDS
            stop.wait(pause)
        self._publisher.close()

    def run_once(self) -> Counts:
        """Move one round of due jobs, unpublished events and unannounced dead jobs.

        Raises:
            UnavailableError: RabbitMQ or Postgres is not there; what was taken is back, or comes back by itself.

        """
        self._publisher.connect()  # before anything is taken: with RabbitMQ away, rows stay as they are
        with self._database.connection() as connection:
            due = jobs.take_due_jobs(connection, limit=BATCH_ROWS_MAX, everything=self._is_time_for_full_scan())
            if len(due) == BATCH_ROWS_MAX:
                self._next_full_scan = 0.0  # a backlog, perhaps of an outage: its oldest jobs first
            told = events.lease_events(connection, limit=BATCH_ROWS_MAX, lease_seconds=EVENT_LEASE_SECONDS)
            dead = jobs.take_dead_jobs(connection, limit=BATCH_ROWS_MAX) if self._is_time_for_dead() else []
        if not (due or told or dead):
            self._publisher.idle()
            return Counts(0, 0, 0)
        packed = list(_packed(due))
        outgoing = [_job_message(ids) for ids in packed]
        outgoing += [_event_message(event, self._exchange) for event in told]
        outgoing += [_dead_message(job) for job in dead]
        try:
            safe = self._publisher.publish(outgoing)
        except UnavailableError:
            self._put_back(due, dead)
            raise
        lost = [job for ids, is_safe in zip(packed, safe, strict=False) if not is_safe for job in ids]
        event_safe = safe[len(packed) : len(packed) + len(told)]
        lost_dead = [job for job, is_safe in zip(dead, safe[len(packed) + len(told) :], strict=True) if not is_safe]
        published = [event.id for event, is_safe in zip(told, event_safe, strict=True) if is_safe]
        if published:
            with self._database.connection() as connection:
                events.mark_published(connection, published)
        self._put_back(lost, lost_dead)
        return Counts(len(due), len(told), len(dead))

    def _put_back(self, due: Sequence[DueJob], dead: Sequence[DueJob]) -> None:
        if not (due or dead):
            return
        with self._database.connection() as connection:
            jobs.return_unsent_jobs(connection, [job.id for job in due])
            jobs.return_dead_jobs(connection, [job.id for job in dead])

    def _is_time_for_full_scan(self) -> bool:
        now = time.monotonic()
        if now < self._next_full_scan:
            return False
        self._next_full_scan = now + _FULL_SCAN_SECONDS
        return True

    def _is_time_for_dead(self) -> bool:
        now = time.monotonic()
        if now < self._next_dead_scan:
            return False
        self._next_dead_scan = now + _DEAD_SCAN_SECONDS
        return True


def _packed(due: Sequence[DueJob]) -> Iterator[list[DueJob]]:
    """Put due jobs of one kind together: one id a message when it is quiet, more when there is a backlog."""
    for _, group in groupby(
        sorted(due, key=lambda job: (job.queue, job.kind, job.id)), lambda job: (job.queue, job.kind)
    ):
        same = list(group)
        for start in range(0, len(same), IDS_PER_MESSAGE_MAX):
            yield same[start : start + IDS_PER_MESSAGE_MAX]


def _job_message(due: Sequence[DueJob]) -> Outgoing:
    message = _message(due[0], [job.id.hex for job in due])
    return Outgoing(
        exchange="",
        routing_key=message.queue_name,
        body=message.encode(),
        message_id=message.message_id,
        content_type="application/json",
        mandatory=True,
    )


def _dead_message(job: DueJob) -> Outgoing:
    message = _message(job, [job.id.hex])
    return Outgoing(
        exchange="",
        routing_key=dead_letter_queue(job.queue),
        body=message.encode(),
        message_id=message.message_id,
        content_type="application/json",
        mandatory=True,
    )


def _message(job: DueJob, ids: list[str]) -> Message[None]:
    return Message(queue_name=job.queue, actor_name=job.kind, args=(ids,), kwargs={}, options={})


def _event_message(event: Event, exchange: str) -> Outgoing:
    return Outgoing(
        exchange=exchange,
        routing_key=event.type,
        body=orjson.dumps(cloud_event(event)),
        message_id=show(Prefix.EVENT, event.id),
        content_type="application/cloudevents+json",
        mandatory=False,
    )
