"""RabbitMQ with the project's topology, emptied before each test."""

from collections.abc import Callable, Generator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from db.connection import Database
from domain.jobs import Queue
from tests.stories import EXCHANGE
from workers.publishing import ConfirmingPublisher
from workers.relay import Relay
from workers.topology import connection_parameters, dead_letter_queue, declare_topology


@pytest.fixture
def channel(rabbitmq_url: str) -> Generator[BlockingChannel]:
    """A look at RabbitMQ beside the code under test; all queues are there, and empty."""
    declare_topology(connection_parameters(rabbitmq_url, "tests"), EXCHANGE)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        for queue in Queue:
            channel.queue_purge(queue)
            channel.queue_purge(dead_letter_queue(queue))
        yield channel


@pytest.fixture
def make_relay(database: Database, rabbitmq_url: str, channel: BlockingChannel) -> Generator[Callable[[], Relay]]:
    """Relays with a connection of their own each, closed afterwards."""
    publishers: list[ConfirmingPublisher] = []

    def make() -> Relay:
        publishers.append(ConfirmingPublisher(rabbitmq_url, EXCHANGE))
        return Relay(database, publishers[-1], EXCHANGE)

    yield make
    for publisher in publishers:
        publisher.close()


@pytest.fixture
def relay(make_relay: Callable[[], Relay]) -> Relay:
    return make_relay()
