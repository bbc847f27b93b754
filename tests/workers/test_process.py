"""The worker process: messages of a real RabbitMQ run their use cases, whoever dies, stalls or is away."""

import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any
from uuid import UUID

import pika
import pika.exceptions
import pytest
from dramatiq import Message
from pika.adapters.blocking_connection import BlockingChannel

from db.connection import Database
from domain.errors import UnavailableError
from domain.jobs import JobKind, Queue
from domain.payment import PaymentStatus
from jobs.context import JobContext
from tests.jobs import scripted_paystack
from tests.jobs.scripted_paystack import Held, ScriptedPaystack
from tests.patience import eventually
from tests.stories import (
    accept,
    event_body,
    event_types,
    job_ids,
    payment_now,
    rows,
    settings_for,
    store_webhook,
    transaction_data,
)
from workers import actors
from workers.broker import LedgerBroker, in_process_broker
from workers.process import QueueWorkers, WorkerDiedError, run_worker
from workers.publishing import InProcessPublisher
from workers.relay import Relay
from workers.roots import job_context
from workers.topology import dead_letter_queue


@pytest.fixture
def paystack() -> Generator[ScriptedPaystack]:
    with scripted_paystack.running() as server:
        yield server


@pytest.fixture
def context(database: Database, migrated_url: str, paystack: ScriptedPaystack) -> Generator[JobContext]:
    with job_context(settings_for(migrated_url, paystack_base_url=paystack.url)) as context:
        yield context


@pytest.fixture
def start(context: JobContext, rabbitmq_url: str, channel: BlockingChannel) -> Generator[Callable[[], QueueWorkers]]:
    """Start the workers of a process; they are stopped at the end."""
    started: list[QueueWorkers] = []

    def start() -> QueueWorkers:
        started.append(QueueWorkers(LedgerBroker(rabbitmq_url), context, list(Queue)))
        started[-1].start()
        return started[-1]

    yield start
    for workers in started:
        workers.stop()


def publish(channel: BlockingChannel, kind: JobKind, ids: Sequence[str], queue: Queue) -> None:
    message = Message(queue_name=queue.value, actor_name=kind.value, args=(list(ids),), kwargs={}, options={})
    channel.basic_publish("", queue.value, message.encode())


def letters(channel: BlockingChannel, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).method.message_count


def test_a_payment_and_its_webhook_go_all_the_way(
    database: Database, relay: Relay, start: Callable[[], QueueWorkers], channel: BlockingChannel
) -> None:
    workers = start()
    some = [accept(database) for _ in range(40)]
    relay.run_once()
    eventually(lambda: not job_ids(database))
    assert all(payment_now(database, payment.id).authorization_url for payment in some)
    for payment in some:
        store_webhook(database, event_body("charge.success", transaction_data(payment)))
    relay.run_once()
    eventually(lambda: not job_ids(database, "apply_webhook"))
    assert {payment_now(database, payment.id).status for payment in some} == {PaymentStatus.SUCCESS}
    assert event_types(database) == ["payment.initiated"] * 40 + ["payment.succeeded"] * 40
    workers.check()


def test_a_finished_job_delivered_again_does_nothing(
    database: Database,
    start: Callable[[], QueueWorkers],
    channel: BlockingChannel,
    paystack: ScriptedPaystack,
) -> None:
    start()
    accept(database)
    ids = [id_.hex for id_ in job_ids(database)]
    for _ in range(3):
        publish(channel, JobKind.INITIALIZE_PAYMENT, ids, Queue.PAYMENTS)
    eventually(lambda: not job_ids(database))
    marker = accept(database)
    publish(channel, JobKind.INITIALIZE_PAYMENT, [job_ids(database)[0].hex], Queue.PAYMENTS)
    eventually(lambda: payment_now(database, marker.id).authorization_url)
    eventually(lambda: letters(channel, Queue.PAYMENTS) == 0)
    assert len(paystack.calls) == 2
    assert letters(channel, "payments.XQ") == 0


@pytest.mark.parametrize("body", [b"no message", b"{}", b'{"actor_name": "x"}'])
def test_what_is_no_message_ends_in_the_dead_letter_queue(
    start: Callable[[], QueueWorkers], channel: BlockingChannel, body: bytes
) -> None:
    workers = start()
    channel.basic_publish("", Queue.PAYMENTS, body)
    eventually(lambda: letters(channel, "payments.XQ") == 1)
    workers.check()


def test_a_message_whose_actor_raises_ends_in_the_dead_letter_queue(
    start: Callable[[], QueueWorkers], channel: BlockingChannel
) -> None:
    start()
    publish(channel, JobKind.APPLY_WEBHOOK, ["nonsense"], Queue.WEBHOOKS)
    eventually(lambda: letters(channel, "webhooks.XQ") == 1)


def test_while_postgres_is_away_a_message_waits(
    database: Database,
    start: Callable[[], QueueWorkers],
    channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = actors.USE_CASES[JobKind.INITIALIZE_PAYMENT]
    calls = 0

    def away_at_first(context: JobContext, ids: Sequence[UUID]) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise UnavailableError("no Postgres")
        really(context, ids)

    monkeypatch.setitem(actors.USE_CASES, JobKind.INITIALIZE_PAYMENT, away_at_first)
    start()
    accept(database)
    publish(channel, JobKind.INITIALIZE_PAYMENT, [job_ids(database)[0].hex], Queue.PAYMENTS)
    eventually(lambda: not job_ids(database))
    assert letters(channel, "payments.XQ") == 0


def test_stopping_while_postgres_is_away_makes_no_dead_letter(
    database: Database,
    start: Callable[[], QueueWorkers],
    channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = threading.Event()

    def away(*_: object) -> None:
        tried.set()
        raise UnavailableError("no Postgres")

    monkeypatch.setitem(actors.USE_CASES, JobKind.INITIALIZE_PAYMENT, away)
    workers = start()
    accept(database)
    publish(channel, JobKind.INITIALIZE_PAYMENT, [job_ids(database)[0].hex], Queue.PAYMENTS)
    assert tried.wait(15)
    workers.stop()
    assert letters(channel, "payments.XQ") == 0
    assert len(job_ids(database)) == 1


def test_a_stopping_process_finishes_the_call_under_way(
    database: Database,
    start: Callable[[], QueueWorkers],
    channel: BlockingChannel,
    paystack: ScriptedPaystack,
) -> None:
    held = Held()
    paystack.next(held)
    workers = start()
    payment = accept(database)
    publish(channel, JobKind.INITIALIZE_PAYMENT, [job_ids(database)[0].hex], Queue.PAYMENTS)
    assert held.arrived.wait(15)
    stopping = threading.Thread(target=workers.stop)
    stopping.start()
    eventually(workers._stopping.is_set)
    held.release.set()
    stopping.join()
    assert payment_now(database, payment.id).authorization_url is not None
    assert job_ids(database) == []


def test_a_slow_gateway_does_not_keep_webhooks_waiting(
    database: Database,
    start: Callable[[], QueueWorkers],
    channel: BlockingChannel,
    paystack: ScriptedPaystack,
) -> None:
    start()
    held = [Held() for _ in range(30)]
    paystack.next(*held)
    for _ in range(30):
        accept(database)
    for id_ in job_ids(database):
        publish(channel, JobKind.INITIALIZE_PAYMENT, [id_.hex], Queue.PAYMENTS)
    try:
        assert held[20].arrived.wait(15)
        payment = accept(database)
        store_webhook(database, event_body("charge.success", transaction_data(payment)))
        ids = [id_.hex for id_ in job_ids(database, "apply_webhook")]
        publish(channel, JobKind.APPLY_WEBHOOK, ids, Queue.WEBHOOKS)
        eventually(lambda: payment_now(database, payment.id).status is PaymentStatus.SUCCESS)
    finally:
        for one in held:
            one.release.set()


def test_a_thread_that_died_is_noticed(start: Callable[[], QueueWorkers]) -> None:
    workers = start()
    workers.check()
    thread: Any = workers._workers[0].workers[0]
    thread.stop()
    thread.join()
    with pytest.raises(WorkerDiedError, match=thread.name):
        workers.check()


def test_a_process_whose_thread_died_ends(
    context: JobContext, rabbitmq_url: str, channel: BlockingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.process._WATCH_SECONDS", 0.05)

    def dies(_: QueueWorkers) -> None:
        raise WorkerDiedError("threads died: one")

    monkeypatch.setattr(QueueWorkers, "check", dies)
    with pytest.raises(WorkerDiedError):
        run_worker(LedgerBroker(rabbitmq_url), context, [Queue.WEBHOOKS], threading.Event())


def test_a_process_told_to_stop_stops(context: JobContext, rabbitmq_url: str, channel: BlockingChannel) -> None:
    stop = threading.Event()
    stop.set()
    run_worker(LedgerBroker(rabbitmq_url), context, [Queue.WEBHOOKS], stop)


def test_workers_declare_what_is_missing_but_no_delay_queues(
    database: Database, start: Callable[[], QueueWorkers], channel: BlockingChannel, rabbitmq_url: str
) -> None:
    for queue in Queue:
        channel.queue_delete(queue)
        channel.queue_delete(dead_letter_queue(queue))
    start()

    def exists(name: str) -> bool:
        with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
            try:
                connection.channel().queue_declare(name, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
        return True

    for queue in Queue:
        eventually(lambda queue=queue: exists(queue))
        assert exists(dead_letter_queue(queue))
        assert not exists(f"{queue}.DQ")


def test_without_rabbitmq_the_same_actors_run_in_one_process(database: Database, context: JobContext) -> None:
    broker = in_process_broker()
    workers = QueueWorkers(broker, context, list(Queue))
    workers.start()
    try:
        relay = Relay(database, InProcessPublisher(broker), "nowhere")
        payment = accept(database)
        relay.run_once()
        eventually(lambda: payment_now(database, payment.id).authorization_url)
        relay.run_once()
        assert rows(database, "SELECT published_at IS NOT NULL FROM events") == [(True,)]
    finally:
        workers.stop()
