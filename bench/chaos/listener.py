"""A service downstream that hears every event: a queue of its own on the events' exchange, read until told to stop."""

import json
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pika
import pika.exceptions

from ops.embedded.ports import answers
from tests.servers import PrivateRabbitMQ

_QUEUE = "chaos-listener"
_EXCHANGE = "payment_events"


class Listener:
    """Hears events in a thread of its own; `heard` counts each by its id."""

    def __init__(self, rabbitmq: PrivateRabbitMQ) -> None:
        self._rabbitmq = rabbitmq
        self._stop = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self.heard: Counter[str] = Counter()
        self.deaf_spans: list[tuple[datetime, datetime]] = []

    @contextmanager
    def listening(self) -> Generator["Listener"]:
        """Listen for the length of a block; it begins when the queue is there."""
        self._thread.start()
        self._bound.wait(30)
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    @contextmanager
    def deaf(self) -> Generator[None]:
        """Say that the queue itself goes away within a block: what is published meanwhile cannot be heard."""
        # What was confirmed and not read yet is lost with the queue as well.
        begun = datetime.now(UTC) - timedelta(seconds=10)
        self._bound.clear()
        try:
            yield
        finally:
            self._bound.wait(60)
            self.deaf_spans.append((begun, datetime.now(UTC) + timedelta(seconds=1)))

    def _run(self) -> None:
        while not self._stop.is_set():
            if answers(self._rabbitmq.port):
                with suppress(pika.exceptions.AMQPError, OSError):
                    self._listen()
            time.sleep(0.3)

    def _listen(self) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(f"{self._rabbitmq.url}?heartbeat=20"))
        try:
            channel = connection.channel()
            channel.exchange_declare(_EXCHANGE, exchange_type="topic", durable=True)
            channel.queue_declare(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_bind(_QUEUE, _EXCHANGE, "#")
            self._bound.set()
            for method, _, body in channel.consume(_QUEUE, inactivity_timeout=0.5):
                if self._stop.is_set():
                    return
                if method is not None and body is not None:
                    self.heard[json.loads(body)["id"]] += 1
                    channel.basic_ack(method.delivery_tag)
        finally:
            if connection.is_open:
                connection.close()
