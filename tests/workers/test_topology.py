"""What exists in RabbitMQ: quorum queues, their dead-letter queues without expiry, and the events' exchange."""

import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from domain.jobs import Queue
from tests.stories import EXCHANGE
from tests.workers.letters import one_message
from workers.topology import connection_parameters, dead_letter_queue, declare_topology


def test_declaring_it_again_is_harmless(channel: BlockingChannel, rabbitmq_url: str) -> None:
    declare_topology(connection_parameters(rabbitmq_url, "tests"), EXCHANGE)


@pytest.mark.parametrize("queue", list(Queue))
def test_a_queue_is_a_quorum_queue_and_so_is_its_dead_letter_queue(
    channel: BlockingChannel, rabbitmq_url: str, queue: Queue
) -> None:
    dead = dead_letter_queue(queue)
    lettered = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    for name, arguments in ((queue.value, lettered), (dead, {})):
        # RabbitMQ compares the arguments: another type is another queue.
        classic = {"x-queue-type": "classic", **arguments}
        with (
            pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection,
            pytest.raises(pika.exceptions.ChannelClosedByBroker, match=r"'x-queue-type'.*'quorum'"),
        ):
            connection.channel().queue_declare(name, durable=True, arguments=classic)


@pytest.mark.parametrize("queue", list(Queue))
def test_dead_letters_do_not_expire(channel: BlockingChannel, rabbitmq_url: str, queue: Queue) -> None:
    expiring = {"x-queue-type": "quorum", "x-message-ttl": 604_800_000}
    with (
        pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match=r"'x-message-ttl'.*current is none"),
    ):
        connection.channel().queue_declare(dead_letter_queue(queue), durable=True, arguments=expiring)


@pytest.mark.parametrize("queue", list(Queue))
def test_a_rejected_message_ends_in_the_dead_letter_queue(channel: BlockingChannel, queue: Queue) -> None:
    channel.basic_publish("", queue, b"bad")
    channel.basic_reject(one_message(channel, queue).delivery_tag, requeue=False)
    assert one_message(channel, dead_letter_queue(queue)).body == b"bad"


def test_the_exchange_is_a_durable_topic_exchange(channel: BlockingChannel) -> None:
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)


def test_what_a_url_says_about_time_limits_comes_first() -> None:
    bounded = connection_parameters("amqp://h/v", "x")
    assert (bounded.heartbeat, bounded.blocked_connection_timeout, bounded.socket_timeout) == (30, 10, 5)
    asked = connection_parameters("amqp://h/v?heartbeat=7&blocked_connection_timeout=8&socket_timeout=9", "x")
    assert (asked.heartbeat, asked.blocked_connection_timeout, asked.socket_timeout) == (7, 8, 9)
