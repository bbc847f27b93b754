"""Messages taken from a queue."""

from dataclasses import dataclass
from uuid import UUID

from dramatiq import Message
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel

from tests.patience import eventually


@dataclass(frozen=True)
class Letter:
    """One message as it came."""

    delivery_tag: int
    properties: BasicProperties
    body: bytes

    @property
    def ids(self) -> list[UUID]:
        """The jobs that it names."""
        return [UUID(hex=text) for text in Message.decode(self.body).args[0]]


def take(channel: BlockingChannel, queue: str) -> Letter | None:
    """Take a message if there is one; it stays unacknowledged."""
    method, properties, body = channel.basic_get(queue)
    if method is None or properties is None or body is None:
        return None
    return Letter(method.delivery_tag, properties, body)


def one_message(channel: BlockingChannel, queue: str) -> Letter:
    """Wait for a message."""
    letter = eventually(lambda: take(channel, queue))
    assert letter is not None
    return letter


def received(channel: BlockingChannel, queue: str, count: int) -> list[Letter]:
    """Take this many messages, and see that there are no more."""
    found = [one_message(channel, queue) for _ in range(count)]
    assert take(channel, queue) is None
    return found
