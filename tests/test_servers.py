"""The private servers: they keep what they promised when they are killed, and are ours alone."""

import time
from pathlib import Path

import pika
import pika.exceptions
import psycopg
import pytest
import redis

from tests.patience import eventually
from tests.servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis
from tests.services import NotFoundError

pytestmark = pytest.mark.slow

# RabbitMQ 3.10 writes a new quorum queue's own books with a delay. Killed at once, the queue has no leader ever after.
QUORUM_QUEUE_SETTLES = 1.5


def test_postgres_keeps_what_it_committed_through_every_way_to_end(state: Path) -> None:
    with PrivatePostgres(state) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        for number, end in enumerate((server.kill, server.stop_immediately, server.stop)):
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
            end()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.url, connect_timeout=1)
            server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT array_agg(n ORDER BY n) FROM kept").fetchone() == ([0, 1, 2],)


def test_rabbitmq_keeps_what_it_confirmed_through_a_kill_and_blocks_publishers_under_an_alarm(tmp_path: Path) -> None:
    with PrivateRabbitMQ(tmp_path / "broker") as server:
        publish(server, b"before")
        time.sleep(QUORUM_QUEUE_SETTLES)
        server.kill()
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(pika.URLParameters(server.url))
        server.start()
        server.raise_memory_alarm()
        with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
            publish(server, b"during")
        server.clear_memory_alarm()
        publish(server, b"after")
        connection = pika.BlockingConnection(pika.URLParameters(server.url))
        channel = connection.channel()
        taken = eventually(lambda: channel.basic_get("kept", auto_ack=True)[2])
        connection.close()
    assert taken == b"before"


def test_redis_comes_back_empty(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "no")
        server.flush()
        assert client.get("kept") is None
        client.set("kept", "no")
        server.kill()
        server.start()
        assert client.get("kept") is None


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.servers.SYSTEM_PROGRAMS", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"no redis-server on PATH.*apt install redis-server"):
        PrivateRedis(tmp_path / "redis").start()
    with pytest.raises(NotFoundError, match=r"no rabbitmq-server on PATH.*apt install rabbitmq-server"):
        PrivateRabbitMQ(tmp_path / "broker").start()


def publish(server: PrivateRabbitMQ, body: bytes) -> None:
    """Publish to a durable quorum queue and wait for the confirm."""
    connection = pika.BlockingConnection(pika.URLParameters(f"{server.url}?blocked_connection_timeout=2"))
    try:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "kept", body, pika.BasicProperties(delivery_mode=2))
    finally:
        if connection.is_open:
            connection.close()
