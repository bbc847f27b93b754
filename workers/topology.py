"""What must exist in RabbitMQ: quorum queues with their dead-letter queues, and the events' exchange.

Everything here can be declared again at any time with the same arguments. Whatever an operator may want to change later
(delivery limits, consumer timeouts, lengths) belongs in a policy: an argument cannot be changed once a queue exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika

from domain.jobs import Queue

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

_QUORUM = {"x-queue-type": "quorum"}


def dead_letter_queue(queue: str) -> str:
    """Name the queue that holds the dead letters of a queue; Dramatiq's naming."""
    return f"{queue}.XQ"


def declare_queue(channel: BlockingChannel, queue: str) -> None:
    """Declare a queue and its dead-letter queue. Dead letters never expire: a person decides about each."""
    dead = dead_letter_queue(queue)
    channel.queue_declare(dead, durable=True, arguments=_QUORUM)
    arguments = {**_QUORUM, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(queue, durable=True, arguments=arguments)


def declare_topology(parameters: pika.URLParameters, exchange: str) -> None:
    """Declare everything, over a connection of its own.

    Raises:
        pika.exceptions.AMQPError: RabbitMQ is not there, or holds something of another shape under these names.

    """
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        for queue in Queue:
            declare_queue(channel, queue)
    finally:
        if connection.is_open:
            connection.close()


def connection_parameters(url: str, name: str) -> pika.URLParameters:
    """Read an AMQP URL and bound everything that could wait for ever; what the URL itself says comes first."""
    parameters = pika.URLParameters(url)
    if "heartbeat=" not in url:
        parameters.heartbeat = 30
    if "blocked_connection_timeout=" not in url:
        parameters.blocked_connection_timeout = 10
    if "socket_timeout=" not in url:
        parameters.socket_timeout = 5
    parameters.client_properties = {"connection_name": f"payfleet {name}"}
    return parameters
