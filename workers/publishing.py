"""Publishing with confirms: many messages under way at once, and for each the word of RabbitMQ that it is safe."""

# pika ships no types: what comes from it is unknown to the type checker.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false
# pyright: reportMissingTypeArgument=false, reportArgumentType=false
from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pika
import pika.exceptions
import structlog
from dramatiq import Message

from domain.errors import UnavailableError
from workers.topology import connection_parameters, declare_topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dramatiq import Broker
    from pika.channel import Channel
    from pika.frame import Method

_log = structlog.get_logger(__name__)

_CONFIRM_SECONDS_MAX = 10.0
_CONNECT_SECONDS_MAX = 10.0
_GOODBYE_SECONDS_MAX = 1.0
_PERSISTENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to publish; `mandatory` when it must end in a queue."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    content_type: str
    mandatory: bool


class Publisher(Protocol):
    """Where the relay's messages go."""

    def connect(self) -> None:
        """Be ready to publish; raises UnavailableError when that cannot be."""
        ...

    def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish all and say for each whether it is safe; raises UnavailableError when the connection is lost."""
        ...

    def idle(self) -> None:
        """Keep the connection alive while there is nothing to publish."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class ConfirmingPublisher:
    """Publishes to RabbitMQ over one connection, with asynchronous confirms.

    pika's event loop runs inside the calls and nowhere else: there is no second thread.
    """

    def __init__(self, url: str, exchange: str) -> None:
        """Take the address and the name of the events' exchange; nothing is connected yet."""
        self._parameters = connection_parameters(url, "relay")
        self._exchange = exchange
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._unconfirmed: set[int] = set()
        self._refused: set[int] = set()
        self._returned: set[str] = set()
        self._published = 0
        self._problem: str | None = None

    def connect(self) -> None:
        """Declare the topology and open a channel with confirms, unless that is done.

        Raises:
            UnavailableError: RabbitMQ does not answer, or blocks publishers.

        """
        if self._channel is not None and self._channel.is_open:
            return
        self.close()
        try:
            declare_topology(self._parameters, self._exchange)
        except (pika.exceptions.AMQPError, OSError) as error:
            message = f"RabbitMQ is not there: {type(error).__name__}"
            raise UnavailableError(message) from error
        self._problem = None
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=lambda connection, error: self._lost(connection, f"{type(error).__name__}"),
            on_close_callback=lambda connection, error: self._lost(connection, f"connection closed: {error}"),
        )
        self._run(_CONNECT_SECONDS_MAX)
        if self._channel is None:
            self.close()
            raise UnavailableError(self._problem or "RabbitMQ did not open a channel in time")

    def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish all, wait for the confirms, and say for each message whether RabbitMQ has it safe.

        Raises:
            UnavailableError: the connection was lost; any of the messages may have arrived.

        """
        channel = self._channel
        if channel is None or not channel.is_open:
            message = "not connected to RabbitMQ"
            raise UnavailableError(message)
        first = self._published + 1
        self._published += len(messages)
        self._unconfirmed = set(range(first, self._published + 1))
        self._refused.clear()
        self._returned.clear()
        try:
            for message in messages:
                _send(channel, message)
        except pika.exceptions.AMQPError as error:  # the connection began to close under our hands
            message = f"the channel was lost: {type(error).__name__}"
            raise UnavailableError(message) from error
        if self._unconfirmed:
            self._run(_CONFIRM_SECONDS_MAX)
        if self._problem is not None or not channel.is_open:
            raise UnavailableError(self._problem or "the channel was closed")
        if self._unconfirmed or self._returned:
            # Late confirms would be counted against the next batch; unroutable means that a queue is gone.
            _log.warning("relay.unconfirmed", missing=len(self._unconfirmed), unroutable=len(self._returned))
            self.close()
        lost = self._unconfirmed | self._refused
        # A message that is returned is confirmed as well: it was handled, by finding no queue for it.
        return [
            number not in lost and message.message_id not in self._returned
            for number, message in enumerate(messages, start=first)
        ]

    def idle(self) -> None:
        """Let pika answer heartbeats and notice a closed connection."""
        if self._connection is not None:
            self._run(0)

    def close(self) -> None:
        """Close the connection, waiting a moment for RabbitMQ's goodbye."""
        connection, self._connection, self._channel = self._connection, None, None
        self._published = 0
        if connection is None:
            return
        with suppress(pika.exceptions.AMQPError):  # it may be closing already
            connection.close()
        loop, deadline = connection.ioloop, time.monotonic() + _GOODBYE_SECONDS_MAX
        # The channel closes first, and stops the loop; the connection is closed when its socket is.
        while not connection.is_closed and (left := deadline - time.monotonic()) > 0:
            timer = loop.call_later(left, loop.stop)
            loop.start()
            loop.remove_timeout(timer)
        loop.close()

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_return_callback(lambda _c, _m, properties, _b: self._returned.add(properties.message_id))
        channel.add_on_close_callback(lambda _, error: self._lost(channel.connection, f"channel closed: {error}"))
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._opened(channel))

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.connection.ioloop.stop()

    def _on_confirm(self, frame: Method) -> None:
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        settled = {number for number in self._unconfirmed if number <= tag} if multiple else {tag}
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._refused |= settled
        self._unconfirmed -= settled
        if not self._unconfirmed and self._connection is not None:
            self._connection.ioloop.stop()

    def _run(self, seconds: float) -> None:
        if self._connection is None:
            return
        loop = self._connection.ioloop
        timer = loop.call_later(seconds, loop.stop)
        loop.start()
        loop.remove_timeout(timer)

    def _lost(self, connection: pika.SelectConnection, problem: str) -> None:
        self._problem = problem
        self._channel = None
        connection.ioloop.stop()


def _send(channel: Channel, message: Outgoing) -> None:
    properties = pika.BasicProperties(
        message_id=message.message_id, content_type=message.content_type, delivery_mode=_PERSISTENT
    )
    channel.basic_publish(message.exchange, message.routing_key, message.body, properties, mandatory=message.mandatory)


class InProcessPublisher:
    """Hands jobs to a broker inside this process; events have no exchange to go to and are logged."""

    def __init__(self, broker: Broker) -> None:
        """Take the broker that the workers of this process consume from."""
        self._broker = broker

    def connect(self) -> None:
        """Be ready: there is nothing to connect to."""

    def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Hand over all messages; every one is safe as long as this process lives."""
        for message in messages:
            if message.exchange:
                _log.info("event.told", type=message.routing_key, body=message.body.decode())
            elif message.routing_key in self._broker.get_declared_queues():
                self._broker.enqueue(Message.decode(message.body))
        return [True] * len(messages)

    def idle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
