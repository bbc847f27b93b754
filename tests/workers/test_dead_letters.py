"""Dead-letter queues and the ledger: whoever dies, purges, rejects or meddles, both agree at the end."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pika
import pika.exceptions
import pytest
from dramatiq import Message
from pika.adapters.blocking_connection import BlockingChannel

from db import jobs as ledger
from db.connection import Database
from domain.dead_letters import Wanted
from domain.errors import UnavailableError
from domain.jobs import JobKind, Queue
from domain.retry import FAILURES_MAX
from jobs.context import JobContext
from jobs.dead_letters import Operator, discard_jobs, retry_jobs
from tests.burying import bury, job_now
from tests.patience import eventually
from tests.refunding import pass_time
from tests.stories import accept, job_ids, rows, seal, settings_for
from tests.workers.letters import Letter, one_message, take
from workers import dead_letters, scheduler
from workers.broker import LedgerBroker
from workers.dead_letters import Counts, DeadLetterQueues
from workers.process import QueueWorkers
from workers.relay import Relay
from workers.roots import job_context
from workers.scheduler import run_scheduler
from workers.topology import dead_letter_queue

XQ = dead_letter_queue(Queue.PAYMENTS)
REJECTED = "a worker rejected its message; the worker's log says why"


@pytest.fixture
def make_queues(database: Database, rabbitmq_url: str, channel: BlockingChannel) -> Generator[Callable[[], Any]]:
    made: list[DeadLetterQueues] = []

    def make() -> DeadLetterQueues:
        made.append(DeadLetterQueues(database, rabbitmq_url))
        return made[-1]

    yield make
    for queues in made:
        queues.close()


@pytest.fixture
def queues(make_queues: Callable[[], DeadLetterQueues]) -> DeadLetterQueues:
    """As they are looked after once they were looked through: only differences are seen from now on."""
    queues = make_queues()
    queues.run_once()
    return queues


@pytest.fixture
def context(database: Database, migrated_url: str) -> Generator[JobContext]:
    with job_context(settings_for(migrated_url)) as context:
        yield context


@pytest.fixture
def workers(context: JobContext, rabbitmq_url: str, channel: BlockingChannel) -> Generator[QueueWorkers]:
    workers = QueueWorkers(LedgerBroker(rabbitmq_url), context, list(Queue))
    workers.start()
    yield workers
    workers.stop()


def depth(channel: BlockingChannel, queue: str = XQ) -> int:
    return channel.queue_declare(queue, passive=True).method.message_count


def letters_in(channel: BlockingChannel, queue: str = XQ) -> list[Letter]:
    """Look at all letters, and put them back."""
    found: list[Letter] = []
    while (letter := take(channel, queue)) is not None:
        found.append(letter)
    if found:
        channel.basic_nack(found[-1].delivery_tag, multiple=True, requeue=True)
        eventually(lambda: depth(channel, queue) == len(found))
    return found


def deliveries(letter: Letter) -> int:
    """How often a letter was taken out and put back before."""
    headers: Any = letter.properties.headers or {}
    return headers.get("x-delivery-count", 0)


def announced_ids(channel: BlockingChannel, queue: str = XQ) -> list[UUID]:
    return sorted(id_ for letter in letters_in(channel, queue) for id_ in letter.ids)


def announce(relay: Relay, channel: BlockingChannel, letters: int) -> None:
    relay._next_dead_scan = 0.0
    relay.run_once()
    eventually(lambda: depth(channel) == letters)


def some_dead(database: Database, count: int) -> list[UUID]:
    return sorted(bury(database, accept(database).id).id for _ in range(count))


def reject(channel: BlockingChannel, queue: Queue = Queue.PAYMENTS) -> list[UUID]:
    """Take the next message as a worker that does not know its actor does."""
    before = depth(channel, dead_letter_queue(queue))
    letter = one_message(channel, queue)
    channel.basic_reject(letter.delivery_tag, requeue=False)
    eventually(lambda: depth(channel, dead_letter_queue(queue)) == before + 1)
    return letter.ids


def publish_dead_letter(channel: BlockingChannel, *ids: UUID) -> None:
    """Put a letter of one's own there, as the relay does."""
    before = depth(channel)
    hexes = ([id_.hex for id_ in ids],)
    message = Message(queue_name="payments", actor_name="initialize_payment", args=hexes, kwargs={}, options={})
    channel.basic_publish("", XQ, message.encode())
    eventually(lambda: depth(channel) == before + 1)


# Announced jobs


def test_a_job_that_is_dead_stays_announced_and_its_letter_is_left_alone(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    dead = some_dead(database, 3)
    announce(relay, channel, 3)
    assert [queues.run_once() for _ in range(3)] == [Counts()] * 3
    assert [deliveries(letter) for letter in letters_in(channel)] == [0, 0, 0], "nobody has taken them out in between"
    assert announced_ids(channel) == dead


def test_what_an_operator_has_decided_about_leaves(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    retried, discarded, stays = some_dead(database, 3)
    announce(relay, channel, 3)
    ada = Operator(database=database, seal=seal(), live=False, name="ada")
    list(retry_jobs(ada, [retried], wanted=Wanted(), rate=10))
    list(discard_jobs(ada, [discarded], wanted=Wanted(), reason="a test"))
    relay.run_once()
    assert queues.run_once() == Counts(removed=2)
    assert announced_ids(channel) == [stays]
    assert job_now(database, retried) == ("sent", 1, 0, None), "a letter of its past does nothing to it"


def test_a_retried_job_that_dies_again_is_announced_once(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    (job,) = some_dead(database, 1)
    announce(relay, channel, 1)
    ada = Operator(database=database, seal=seal(), live=False, name="ada")
    list(retry_jobs(ada, [job], wanted=Wanted(), rate=10))
    bury(database, job)
    announce(relay, channel, 2)
    assert queues.run_once() == Counts(removed=1)
    assert announced_ids(channel) == [job]


@pytest.mark.parametrize("is_purged", [True, False])
def test_a_dead_job_whose_letter_was_never_sent_or_purged_is_announced_again(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel, is_purged: bool
) -> None:
    dead = some_dead(database, 2)
    if is_purged:
        announce(relay, channel, 2)
        channel.queue_purge(XQ)
    else:
        with database.connection() as connection:  # marked, committed, and then the relay died
            ledger.take_dead_jobs(connection, limit=10)
    queues._next_full_look.clear()
    assert queues.run_once() == Counts(), "a relay may be about to send them"
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    assert queues.run_once() == Counts(announced_again=2)
    announce(relay, channel, 2)
    assert queues.run_once() == Counts()
    assert announced_ids(channel) == dead


def test_letters_come_back_with_their_queue(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    dead = some_dead(database, 1)
    announce(relay, channel, 1)
    channel.queue_delete(XQ)
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    with pytest.raises(UnavailableError):
        queues.run_once()
    assert queues.run_once() == Counts(announced_again=1)
    announce(relay, channel, 1)
    assert announced_ids(channel) == dead


def test_a_letter_too_many_that_hides_a_missing_one_is_found_in_time(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (dead,) = some_dead(database, 1)
    announce(relay, channel, 1)
    channel.queue_purge(XQ)
    publish_dead_letter(channel, uuid4())
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    assert queues.run_once() == Counts(), "the depth is what it should be"
    queues._next_full_look.clear()
    assert queues.run_once() == Counts(removed=1, announced_again=1)
    announce(relay, channel, 1)
    assert announced_ids(channel) == [dead]


def test_a_letter_in_another_queue_than_its_jobs_is_not_counted_there(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    dead = some_dead(database, 1)
    announce(relay, channel, 1)
    other = dead_letter_queue(Queue.WEBHOOKS)
    (letter,) = letters_in(channel)
    channel.basic_publish("", other, letter.body)
    eventually(lambda: depth(channel, other) == 1)
    assert queues.run_once() == Counts(removed=1)
    assert (announced_ids(channel), announced_ids(channel, other)) == (dead, [])


def test_of_a_crowd_only_the_front_is_looked_through_and_nobody_behind_it_is_missed(
    database: Database, make_queues: Callable[[], DeadLetterQueues], relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dead_letters, "LETTERS_MAX", 3)
    dead = some_dead(database, 5)
    announce(relay, channel, 5)
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    queues = make_queues()
    assert [queues.run_once() for _ in range(3)] == [Counts()] * 3
    looked_through = [letter for letter in letters_in(channel) if deliveries(letter)]
    assert [deliveries(letter) for letter in looked_through] == [1, 1, 1], "and not again and again"
    assert announced_ids(channel) == dead
    ada = Operator(database=database, seal=seal(), live=False, name="ada")
    list(retry_jobs(ada, dead, wanted=Wanted(), rate=10))
    assert [queues.run_once().removed for _ in range(3)] == [3, 2, 0]


def test_those_behind_a_crowd_of_the_past_are_not_taken_for_missing(
    database: Database, make_queues: Callable[[], DeadLetterQueues], relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dead_letters, "LETTERS_MAX", 3)
    for _ in range(3):
        publish_dead_letter(channel, uuid4())
    dead = some_dead(database, 2)
    announce(relay, channel, 5)
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    queues = make_queues()
    assert [queues.run_once() for _ in range(2)] == [Counts(removed=3), Counts()]
    assert announced_ids(channel) == dead


# Messages that workers rejected


def test_the_jobs_of_a_rejected_message_run_again_soon_and_say_why(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    for _ in range(3):
        accept(database)
    relay.run_once()
    ids = reject(channel)
    assert len(ids) == 3
    assert queues.run_once() == Counts(returned=3, removed=1)
    assert {job_now(database, id_) for id_ in ids} == {("ready", 0, 1, REJECTED)}
    assert relay.run_once().jobs == 0, "not at once, or a worker that knows no better would be asked without end"
    pass_time(database, 2)
    assert relay.run_once().jobs == 3
    assert depth(channel) == 0


def test_a_real_worker_that_does_not_know_the_actor_gives_the_job_back(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel, workers: QueueWorkers
) -> None:
    payment = accept(database)
    rows(database, "UPDATE jobs SET kind = 'of_the_next_release'")
    relay.run_once()
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(returned=1, removed=1)
    assert job_now(database, payment.id) == ("ready", 0, 1, REJECTED)


def test_a_real_worker_whose_actor_raises_gives_the_job_back(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel, workers: QueueWorkers
) -> None:
    payment = accept(database)
    rows(database, "UPDATE jobs SET payload = '{}'")
    relay.run_once()
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(returned=1, removed=1)
    assert job_now(database, payment.id) == ("ready", 0, 1, REJECTED)


def test_a_job_whose_message_is_rejected_for_ever_dies_and_stays_announced(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    job = accept(database).id
    rows(database, "UPDATE jobs SET failures = %s", FAILURES_MAX - 1)
    relay.run_once()
    reject(channel)
    assert queues.run_once() == Counts(returned=1, removed=1)
    assert job_now(database, job) == ("dead", 0, FAILURES_MAX, REJECTED)
    announce(relay, channel, 1)
    assert queues.run_once() == Counts()
    assert announced_ids(channel) == [job]


def test_a_run_that_may_still_be_under_way_keeps_its_time(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    job = accept(database).id
    relay.run_once()

    def claim() -> Sequence[Any]:
        with database.transaction() as tx:
            return ledger.claim_jobs(tx, kind=JobKind.INITIALIZE_PAYMENT, ids=[job], lease_seconds=60)

    (run,) = claim()
    reject(channel)  # its message was delivered twice, and the other worker raised
    assert queues.run_once() == Counts(returned=1, removed=1)
    pass_time(database, 55)
    assert claim() == []
    assert relay.run_once().jobs == 0
    with database.transaction() as tx:
        assert ledger.finish_jobs(tx, [run]) == {job}


def test_a_run_that_died_with_its_message_is_followed_by_another_when_its_lease_ends(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    job = accept(database).id
    relay.run_once()
    with database.transaction() as tx:
        ledger.claim_jobs(tx, kind=JobKind.INITIALIZE_PAYMENT, ids=[job], lease_seconds=60)
    reject(channel)
    queues.run_once()
    assert job_now(database, job) == ("ready", 1, 1, REJECTED)
    pass_time(database, 61)
    assert relay.run_once().jobs == 1


@pytest.mark.parametrize("fate", ["dead", "gone", "ready"])
def test_a_rejected_message_whose_job_needs_nothing_just_leaves(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel, fate: str
) -> None:
    job = accept(database).id
    relay.run_once()
    reject(channel)
    if fate == "dead":
        bury(database, job)
        announce(relay, channel, 2)
    elif fate == "gone":
        rows(database, "DELETE FROM jobs")
    else:
        rows(database, "UPDATE jobs SET state = 'ready', sent_at = NULL")
    before = job_now(database, job)
    assert queues.run_once() == Counts(removed=1)
    assert job_now(database, job) == before
    stays = letters_in(channel)
    assert [letter.ids for letter in stays] == ([[job]] if fate == "dead" else [])
    assert not any("x-death" in (letter.properties.headers or {}) for letter in stays), "only the relay's own letter"


def test_a_batch_that_was_rejected_is_taken_apart(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel
) -> None:
    for _ in range(3):
        accept(database)
    live, dead, gone = job_ids(database)
    relay.run_once()
    reject(channel)
    bury(database, dead)
    rows(database, "DELETE FROM jobs WHERE id = %s", gone)
    assert queues.run_once() == Counts(returned=1, removed=1)
    assert job_now(database, live) == ("ready", 0, 1, REJECTED)
    assert job_now(database, dead) == ("dead", 1, 1, "no luck")


# What cannot be read


@pytest.mark.parametrize(
    "body",
    [b"no message", b"[]", b'{"args": []}', b'{"args": [[]]}', b'{"args": [["x"]]}', b'{"args": [[5]]}', b"\xff"],
)
def test_what_cannot_be_read_is_kept_for_a_person_and_not_looked_at_again_and_again(
    database: Database, queues: DeadLetterQueues, channel: BlockingChannel, body: bytes
) -> None:
    channel.basic_publish("", Queue.PAYMENTS, body)
    channel.basic_reject(one_message(channel, Queue.PAYMENTS).delivery_tag, requeue=False)
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(unreadable=1)
    eventually(lambda: depth(channel) == 1)
    assert [queues.run_once() for _ in range(3)] == [Counts(unreadable=1)] * 3
    (letter,) = letters_in(channel)
    assert letter.body == body
    assert deliveries(letter) == 1, "looked at once"
    channel.queue_purge(XQ)
    assert queues.run_once() == Counts()


def test_it_is_said_once_that_something_cannot_be_read(
    queues: DeadLetterQueues, channel: BlockingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(dead_letters._log, "warning", lambda event, **values: said.append((event, values)))
    channel.basic_publish("", XQ, b"secret")
    eventually(lambda: depth(channel) == 1)
    for _ in range(3):
        queues._next_full_look.clear()
        queues.run_once()
        eventually(lambda: depth(channel) == 1)
    assert said == [("dead_letters.unreadable", {"queue": XQ, "letters": 1})]


@pytest.mark.parametrize(
    ("deaths", "cause"),
    [
        ("odd", "for no known reason"),
        ([], "for no known reason"),
        ([5], "for no known reason"),
        ([{"reason": "delivery_limit", "count": 1}], "delivery_limit"),
    ],
)
def test_why_rabbitmq_gave_a_message_up_is_told_however_it_says_so(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel, deaths: Any, cause: str
) -> None:
    job = accept(database).id
    relay.run_once()
    body = one_message(channel, Queue.PAYMENTS).body
    channel.basic_publish("", XQ, body, pika.BasicProperties(headers={"x-death": deaths}))
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(returned=1, removed=1)
    assert job_now(database, job) == ("ready", 0, 1, f"RabbitMQ gave up its message: {cause}")


# Crashes and company


def test_a_crash_between_the_commit_and_the_acknowledgement_does_nothing_twice(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = accept(database).id
    relay.run_once()
    reject(channel)

    def die(*_: object) -> None:
        raise pika.exceptions.StreamLostError

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(BlockingChannel, "basic_ack", die)
        queues.run_once()
    assert job_now(database, job) == ("ready", 0, 1, REJECTED)
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(removed=1)
    assert job_now(database, job) == ("ready", 0, 1, REJECTED)


def test_without_postgres_every_letter_goes_back(
    database: Database, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = accept(database).id
    relay.run_once()
    reject(channel)

    def away(*_: object) -> None:
        raise UnavailableError("no Postgres")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(ledger, "lock_sent_jobs", away)
        queues.run_once()
    assert job_now(database, job) == ("sent", 0, 0, None)
    eventually(lambda: depth(channel) == 1)
    assert queues.run_once() == Counts(returned=1, removed=1)


def test_without_rabbitmq_nothing_is_changed(database: Database) -> None:
    queues = DeadLetterQueues(database, "amqp://127.0.0.1:1/?connection_attempts=1")
    with pytest.raises(UnavailableError):
        queues.run_once()


def test_two_at_once_agree_with_the_ledger_in_the_end(
    database: Database, make_queues: Callable[[], DeadLetterQueues], relay: Relay, channel: BlockingChannel
) -> None:
    dead = some_dead(database, 30)
    announce(relay, channel, 30)
    for _ in range(10):
        publish_dead_letter(channel, uuid4())
    pass_time(database, dead_letters.ANNOUNCING_SECONDS + 1)
    both = [make_queues(), make_queues()]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda queues: queues.run_once(), both))

    def is_in_step() -> bool:
        relay._next_dead_scan = 0.0
        relay.run_once()
        both[0].run_once()
        return announced_ids(channel) == dead

    eventually(is_in_step)


def test_a_running_scheduler_looks_after_them(
    database: Database, migrated_url: str, queues: DeadLetterQueues, relay: Relay, channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(scheduler, "LETTERS_SECONDS", 0.1)
    job = accept(database).id
    relay.run_once()
    reject(channel)
    stop = threading.Event()
    thread = threading.Thread(
        target=run_scheduler,
        args=(database, migrated_url, stop),
        kwargs={"looks_a_minute": 60, "letters": queues},
    )
    thread.start()
    try:
        eventually(lambda: job_now(database, job) == ("ready", 0, 1, REJECTED))
        eventually(lambda: depth(channel) == 0)
    finally:
        stop.set()
        thread.join()
    assert queues._channel is None
