"""A process that goes wrong at a chosen touch of the world outside: it dies, or the line to the other side breaks.

Whatever it does between two touches leaves no trace, so dying after one is dying before the next; a process that dies
before its first touch, before its second, and so on until it reaches its end, has died everywhere. A broken line is two
things more, since the process lives on and cannot tell them apart: what it sent was lost, or the answer was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from functools import partial
from itertools import count
from typing import Any, NoReturn, TypeVar

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import db.connection
from db.connection import Connection, Database
from domain.errors import UnavailableError
from jobs.calls import GatewayThreads, Item, Result
from jobs.paystack.answers import NotSent, Unknown
from jobs.paystack.transport import Response, Transport
from workers.publishing import Outgoing, Publisher

Touched = TypeVar("Touched")
Subject = TypeVar("Subject")

_TOUCHES_MAX = 500  # a sweep that goes on for longer does not end


class Crash(BaseException):
    """The process is gone."""


class Fate(StrEnum):
    """How a touch goes wrong."""

    DIES = "dies before"
    LOSES_REQUEST = "is cut off before"
    LOSES_REPLY = "is cut off after"


class Touches:
    """Counts the touches of one process at a time, and lets one of them go wrong.

    Inside a transaction a statement is no touch, unless asked for: until the commit, all of them come to nothing.
    """

    def __init__(self, *, inside_transactions: bool = False) -> None:
        self.inside_transactions = inside_transactions
        self.went_wrong: str | None = None
        self._wrong: tuple[Fate, int] | None = None
        self._made = 0

    @contextmanager
    def going_wrong(self, fate: Fate, at: int) -> Generator[None]:
        """Start a process that meets its fate at the touch of this number; others are left alone."""
        self._wrong, self._made, self.went_wrong = (fate, at), 0, None
        try:
            yield
        finally:
            self._wrong = None

    def touch(self, name: str, make: Callable[[], Touched], broken: Callable[[], Touched]) -> Touched:
        """Make a touch, or do not; `broken` is how a broken line looks to who made it."""
        if self._wrong is None:
            return make()
        fate, at = self._wrong
        if self.went_wrong is not None and fate is Fate.DIES:
            raise Crash(self.went_wrong)  # whatever cleans up after itself: a dead process does not
        number, self._made = self._made, self._made + 1
        if number != at:
            return make()
        self.went_wrong = f"{fate} {name}"
        if fate is Fate.DIES:
            raise Crash(self.went_wrong)
        if fate is Fate.LOSES_REPLY:
            make()
        return broken()


def sweep(
    touches: Touches, prepare: Callable[[], Subject], act: Callable[[Subject], object]
) -> Iterator[tuple[str, Subject]]:
    """Act on one subject after the other, and let it go wrong at the first touch, the second, … in every way there is.

    Yields:
        What went wrong, and the subject it went wrong with, as it was left behind.

    """
    for fate in Fate:
        for at in count():
            assert at < _TOUCHES_MAX, "acting on one subject makes others work too"
            subject = prepare()
            went_wrong = crash_once(touches, fate, at, partial(act, subject))
            if went_wrong is None:
                break
            yield went_wrong, subject


def crash_once(touches: Touches, fate: Fate, at: int, act: Callable[[], object]) -> str | None:
    """Run a process into its fate; says what went wrong, None when it came to its end before."""
    with touches.going_wrong(fate, at):
        with suppress(Crash):
            act()
        return touches.went_wrong


def patiently(act: Callable[[], object]) -> None:
    """Act as an actor does, which goes on trying while Postgres is away."""
    try:
        act()
    except UnavailableError:
        act()


@contextmanager
def watched_database(url: str, touches: Touches) -> Generator[Database]:
    """A process's own way to Postgres, each statement and each commit a touch."""

    class Watched(Connection):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            make = partial(super().execute, query, *args, **options)
            if self.info.transaction_status is not TransactionStatus.IDLE and not touches.inside_transactions:
                return make()
            return self._touch(" ".join(str(query).split())[:60], make)

        @contextmanager
        def transaction(self, *args: Any, **options: Any) -> Generator[psycopg.Transaction]:
            with ExitStack() as stack:
                yield stack.enter_context(super().transaction(*args, **options))
                self._touch("a commit", stack.close)

        def _touch(self, name: str, make: Callable[[], Touched]) -> Touched:
            try:
                return touches.touch(name, make, self._broken)
            except Crash:
                self.close()  # Postgres takes back what was not committed
                raise

        def _broken(self) -> NoReturn:
            self.close()
            message = "the line is broken"
            raise psycopg.OperationalError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db.connection, "Connection", Watched)
        made = Database(url, minimum=1, maximum=2, name="watched")
    with made:
        yield made


class WatchedTransport(Transport):
    """A process's own way to Paystack, each exchange a touch."""

    def __init__(self, base_url: str, secret_key: str, touches: Touches) -> None:
        super().__init__(base_url, secret_key)
        self._touches = touches

    def exchange(self, method: str, path: str, body: object = None) -> Response | NotSent | Unknown:
        make = partial(super().exchange, method, path, body)
        return self._touches.touch(f"{method} {path}", make, lambda: Unknown("the line is broken"))


class WatchedPublisher:
    """A process's own way to RabbitMQ, each message a touch."""

    def __init__(self, publisher: Publisher, touches: Touches) -> None:
        self._publisher = publisher
        self._touches = touches

    def connect(self) -> None:
        self._publisher.connect()

    def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        return [
            self._touches.touch(f"publishing to {m.routing_key}", partial(self._publish, m), self._broken)
            for m in messages
        ]

    def idle(self) -> None:
        self._publisher.idle()

    def close(self) -> None:
        self._publisher.close()

    def _publish(self, message: Outgoing) -> bool:
        return self._publisher.publish([message])[0]

    def _broken(self) -> NoReturn:
        self._publisher.close()
        message = "the line is broken"
        raise UnavailableError(message)


class InTurn(GatewayThreads):
    """Makes the calls of a batch one after the other. The first is settled alone, the others together.

    So a batch has a middle to die in: some calls made, some of them settled.
    """

    def __init__(self) -> None:
        super().__init__(1)

    @contextmanager
    def seats(self, count: int) -> Generator[Any]:
        del count
        yield self

    def as_they_arrive(
        self, call: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[list[tuple[Item, Result | Exception]]]:
        for group in (items[:1], items[1:]):
            if group:
                yield [(item, _result_of(call, item)) for item in group]


def _result_of(call: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return call(item)
    except Exception as error:  # noqa: BLE001 - as the gateway's threads do
        return error
