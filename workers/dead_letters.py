"""RabbitMQ's dead-letter queues, kept in step with the ledger: `<queue>.XQ` holds one letter for each dead job.

Two sorts of letters come there. The relay announces dead jobs, so that RabbitMQ's own tools show them. And RabbitMQ
moves messages there that a worker rejected: one that does not know their actor during a deploy, or whose actor raised.
Their jobs are not dead, and run again soon.

A queue is looked through only while its depth is not what the ledger says. The letters are held unacknowledged
meanwhile, and what stays goes back at the end. Whatever is changed in the ledger is committed before its letter is
acknowledged: after a crash in between, the letter is read again and finds its job in order.
"""

# pika ships no types: what comes from it is unknown to the type checker.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pika
import pika.exceptions
import structlog

from db import dead_letters, jobs
from domain.errors import UnavailableError
from domain.jobs import Queue
from domain.retry import Failure, FailureKind, decide
from workers.topology import connection_parameters, dead_letter_queue, declare_queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pika.adapters.blocking_connection import BlockingChannel

    from db.connection import Connection, Database

_log = structlog.get_logger(__name__)

LETTERS_MAX = 5_000  # of one queue, looked through at a time: some seconds
ANNOUNCING_SECONDS = 60.0  # ten are the most that the relay takes from marking a job as announced to the confirm
_FULL_LOOK_SECONDS = 3_600.0
_LETTERS_TOGETHER = 100  # in one transaction; the message of a batch names 32 jobs


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in a dead-letter queue, and the jobs it names; None when that cannot be read.

    `cause` is why RabbitMQ moved it there; None for one that the relay put there.
    """

    tag: int
    ids: frozenset[UUID] | None
    cause: str | None


@dataclass(slots=True)
class Counts:
    """What one round did; `unreadable` are the letters left for a person."""

    returned: int = 0
    removed: int = 0
    announced_again: int = 0
    unreadable: int = 0


@dataclass(slots=True)
class _Look:
    """One look through one queue: the dead jobs it announces, and the newest letter that stays."""

    announces: set[UUID] = field(default_factory=set[UUID])
    letters: int = 0
    unreadable: int = 0
    stays: int | None = None


class DeadLetterQueues:
    """All dead-letter queues, looked after by one process at a time; a second one would do no harm."""

    def __init__(self, database: Database, url: str) -> None:
        """Take the ledger's database and RabbitMQ's address; nothing is connected yet."""
        self._database = database
        self._parameters = connection_parameters(url, "dead-letters")
        self._channel: BlockingChannel | None = None
        self._unreadable: dict[Queue, int] = {}
        self._next_full_look: dict[Queue, float] = {}

    def run_once(self) -> Counts:
        """Bring each queue that differs from the ledger into step with it.

        Raises:
            UnavailableError: RabbitMQ or Postgres is not there; letters that were held go back by themselves.

        """
        counts, is_done = Counts(), False
        try:
            channel = self._connected()
            for queue in Queue:
                if self._differs(channel, queue):
                    self._look_through(channel, queue, counts)
            is_done = True
        except (pika.exceptions.AMQPError, OSError) as error:
            message = f"RabbitMQ is not there: {type(error).__name__}"
            raise UnavailableError(message) from error
        finally:
            if not is_done:
                self.close()
        counts.unreadable = sum(self._unreadable.values())
        if counts.returned or counts.removed or counts.announced_again:
            _log.info(
                "dead_letters.settled",
                returned=counts.returned,
                removed=counts.removed,
                announced_again=counts.announced_again,
            )
        return counts

    def close(self) -> None:
        """Let go of the connection, and of all letters held."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(pika.exceptions.AMQPError, OSError):  # it may be gone already
                channel.connection.close()

    def _connected(self) -> BlockingChannel:
        if self._channel is None:
            self._channel = pika.BlockingConnection(self._parameters).channel()
            for queue in Queue:
                declare_queue(self._channel, queue)
        return self._channel

    def _differs(self, channel: BlockingChannel, queue: Queue) -> bool:
        # Depths are compared, since reading is dear: each letter that goes back counts as delivered once more. Now and
        # then a queue is read all the same: a letter too many may hide one that is missing.
        if time.monotonic() >= self._next_full_look.get(queue, 0.0):
            return True
        depth = channel.queue_declare(dead_letter_queue(queue), passive=True).method.message_count
        with self._database.connection() as connection:
            announced = dead_letters.count_announced(
                connection, queue=queue, seconds=ANNOUNCING_SECONDS, limit=LETTERS_MAX
            )
        if announced.all == LETTERS_MAX:
            return False  # too many to compare; the sweeper brings back the jobs of messages that were rejected
        return not announced.settled <= depth - self._unreadable.get(queue, 0) <= announced.all

    def _look_through(self, channel: BlockingChannel, queue: Queue, counts: Counts) -> None:
        look, together = _Look(), list[Letter]()
        for letter in _letters(channel, dead_letter_queue(queue)):
            look.letters += 1
            together.append(letter)
            if len(together) == _LETTERS_TOGETHER:
                self._settle(channel, queue, together, look, counts)
                together.clear()
        self._settle(channel, queue, together, look, counts)
        if look.letters < LETTERS_MAX:  # else there may be more
            self._announce_missing(queue, look, counts)
        self._next_full_look[queue] = time.monotonic() + _FULL_LOOK_SECONDS
        if look.stays is not None:
            channel.basic_nack(look.stays, multiple=True, requeue=True)
        if look.unreadable != self._unreadable.get(queue, 0):
            _log.warning("dead_letters.unreadable", queue=dead_letter_queue(queue), letters=look.unreadable)
        self._unreadable[queue] = look.unreadable

    def _settle(
        self, channel: BlockingChannel, queue: Queue, letters: Sequence[Letter], look: _Look, counts: Counts
    ) -> None:
        """Return the jobs of rejected messages, and remove every letter but those that should be here."""
        causes = {id_: letter.cause for letter in letters if letter.cause for id_ in letter.ids or ()}
        told = {id_ for letter in letters if not letter.cause for id_ in letter.ids or ()}
        with self._database.transaction() as tx:
            counts.returned += _return_jobs(tx, causes)
            dead = dead_letters.get_dead_ids(tx, sorted(told), queue=queue)
        for letter in letters:
            if letter.ids is None:
                look.unreadable += 1
            elif letter.cause is None and (announces := letter.ids & (dead - look.announces)):
                look.announces |= announces
            else:
                channel.basic_ack(letter.tag)
                counts.removed += 1
                continue
            look.stays = letter.tag

    def _announce_missing(self, queue: Queue, look: _Look, counts: Counts) -> None:
        """Have the relay announce again what is not here though it should be: its letter was never sent, or purged."""
        with self._database.connection() as connection:
            announced = dead_letters.get_announced(
                connection, queue=queue, seconds=ANNOUNCING_SECONDS, limit=LETTERS_MAX
            )
            missing = announced - look.announces
            if missing:
                jobs.return_dead_jobs(connection, sorted(missing))
        counts.announced_again += len(missing)


def _letters(channel: BlockingChannel, queue: str) -> Iterator[Letter]:
    """Take letters until there are no more, or many; they stay unacknowledged."""
    for _ in range(LETTERS_MAX):
        method, properties, body = channel.basic_get(queue)
        if method is None or properties is None or body is None:
            return
        yield Letter(method.delivery_tag, _ids_in(body), _cause_of(properties.headers or {}))


def _ids_in(body: bytes) -> frozenset[UUID] | None:
    try:
        return frozenset(UUID(hex=text) for text in orjson.loads(body)["args"][0]) or None
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _cause_of(headers: Mapping[str, Any]) -> str | None:
    """Say why RabbitMQ itself moved a message here, in its word: rejected, delivery_limit, expired, maxlen."""
    match headers.get("x-death"):
        case None:
            return None
        case [{"reason": str(reason)}, *_]:
            return reason
        case _:
            return "for no known reason"


def _return_jobs(tx: Connection, causes: Mapping[UUID, str]) -> int:
    """Let jobs whose messages were rejected run again, as after a run that failed: later each time, and not for ever.

    Those that are ready by now, or dead, or gone need nothing. A run that may still be under way keeps its time.
    """
    sent = jobs.lock_sent_jobs(tx, sorted(causes))
    for job, lease_seconds in sent:
        cause = causes[job.id]
        reason = "a worker rejected its message; the worker's log says why"
        error = reason if cause == "rejected" else f"RabbitMQ gave up its message: {cause}"
        failure = Failure(FailureKind.TRANSIENT, error, lease_seconds)
        jitter = random.random()  # noqa: S311 - spreads load, keeps no secret
        jobs.apply_decision(tx, job, decide(failure, job.failures, jitter), error=error)
    return len(sent)
