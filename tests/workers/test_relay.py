"""The relay against a real RabbitMQ: nothing is lost, whatever is deleted, refused or cut off between its steps."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from db import events
from db import jobs as ledger
from db.clock import advance_test_clock
from db.connection import Database
from domain.errors import UnavailableError
from domain.ids import Prefix, parse
from domain.jobs import JobKind, Queue
from domain.payment import Payment
from domain.retry import Park
from jobs.janitor import sweep_once
from tests.stories import (
    EXCHANGE,
    accept,
    event_body,
    job_ids,
    payment_now,
    rows,
    settings_for,
    store_webhook,
)
from tests.workers.flagging import flag
from tests.workers.letters import one_message, received
from workers.publishing import ConfirmingPublisher
from workers.relay import IDS_PER_MESSAGE_MAX, Relay


def states(database: Database) -> set[str]:
    return {row[0] for row in rows(database, "SELECT DISTINCT state::text FROM jobs")}


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def test_due_jobs_of_a_kind_are_packed_into_messages(
    database: Database, relay: Relay, channel: BlockingChannel
) -> None:
    for _ in range(70):
        accept(database)
    store_webhook(database, event_body("x", {}))
    counts = relay.run_once()
    assert (counts.jobs, counts.events, counts.dead) == (71, 0, 0)
    messages = received(channel, Queue.PAYMENTS, 3)
    assert sorted(len(letter.ids) for letter in messages) == [
        6,
        IDS_PER_MESSAGE_MAX,
        IDS_PER_MESSAGE_MAX,
    ]
    assert sorted(id_ for letter in messages for id_ in letter.ids) == job_ids(database)
    assert {json.loads(letter.body)["actor_name"] for letter in messages} == {"initialize_payment"}
    assert {letter.properties.delivery_mode for letter in messages} == {2}
    (webhook,) = received(channel, Queue.WEBHOOKS, 1)
    assert webhook.ids == job_ids(database, "apply_webhook")
    assert states(database) == {"sent"}
    assert relay.run_once().idle


def test_a_lone_job_travels_alone(database: Database, relay: Relay, channel: BlockingChannel) -> None:
    accept(database)
    relay.run_once()
    (message,) = received(channel, Queue.PAYMENTS, 1)
    assert message.ids == job_ids(database)


def test_a_message_carries_nothing_but_ids(database: Database, relay: Relay, channel: BlockingChannel) -> None:
    accept(database, metadata={"secret": "hunter2"})
    relay.run_once()
    (letter,) = received(channel, Queue.PAYMENTS, 1)
    message = json.loads(letter.body)
    assert message["args"] == [[job_ids(database)[0].hex]]
    assert (message["kwargs"], message["options"]) == ({}, {})


def test_a_row_is_committed_as_sent_before_its_message_is_published(
    database: Database, relay: Relay, channel: BlockingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(database)
    seen: list[set[str]] = []
    really = ConfirmingPublisher.publish

    def looks_first(publisher: ConfirmingPublisher, messages: Any) -> list[bool]:
        seen.append(states(database))  # by a connection of its own: sees only what is committed
        return really(publisher, messages)

    monkeypatch.setattr(ConfirmingPublisher, "publish", looks_first)
    relay.run_once()
    assert seen == [{"sent"}]


def test_jobs_for_a_queue_that_was_deleted_go_back_and_out_again(
    database: Database, relay: Relay, channel: BlockingChannel
) -> None:
    relay.run_once()
    channel.queue_delete(Queue.PAYMENTS)
    accept(database)
    store_webhook(database, event_body("x", {}))
    relay.run_once()
    assert rows(database, "SELECT kind, state::text FROM jobs ORDER BY kind") == [
        ("apply_webhook", "sent"),
        ("initialize_payment", "ready"),
    ]
    relay.run_once()
    received(channel, Queue.PAYMENTS, 1)
    received(channel, Queue.WEBHOOKS, 1)
    assert states(database) == {"sent"}


def test_events_reach_a_bound_queue_as_cloud_events(database: Database, relay: Relay, channel: BlockingChannel) -> None:
    payment = accept(database)
    flag(database, payment)
    channel.queue_declare("downstream", exclusive=True)
    channel.queue_bind("downstream", EXCHANGE, "payment.*")
    channel.queue_declare("other", exclusive=True)
    channel.queue_bind("other", EXCHANGE, "refund.#")
    relay.run_once()
    (letter,) = received(channel, "downstream", 1)
    event = json.loads(letter.body)
    (row,) = rows(database, "SELECT id, created_at, published_at IS NOT NULL FROM events")
    assert letter.properties.content_type == "application/cloudevents+json"
    assert letter.properties.message_id == event["id"]
    assert parse(Prefix.EVENT, event["id"]) == row[0]
    assert event["specversion"] == "1.0"
    assert event["type"] == "payment.flagged"
    assert event["source"] == "/payfleet/payments"
    assert parse(Prefix.PAYMENT, event["subject"]) == payment.id
    assert event["datacontenttype"] == "application/json"
    assert event["time"].endswith("Z")
    assert event["correlationid"] == "req_flag"
    assert event["data"]["reviewReason"] == "amount_mismatch"
    assert row[2] is True
    received(channel, "other", 0)
    relay.run_once()
    received(channel, "downstream", 0)


def test_an_event_nobody_listens_to_is_told_once(database: Database, relay: Relay) -> None:
    flag(database, accept(database))
    relay.run_once()
    assert rows(database, "SELECT published_at IS NOT NULL FROM events") == [(True,)]


def test_a_relay_that_dies_before_it_marks_an_event_tells_it_again_under_the_same_id(
    database: Database, relay: Relay, make_relay: Callable[[], Relay], channel: BlockingChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flag(database, accept(database))
    channel.queue_declare("downstream", exclusive=True)
    channel.queue_bind("downstream", EXCHANGE, "#")

    class Crash(BaseException):
        pass

    def die(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(events, "mark_published", die)
        relay.run_once()
    (first,) = received(channel, "downstream", 1)
    other = make_relay()
    assert other.run_once().events == 0, "the lease still holds"
    pass_time(database, 31)
    assert other.run_once().events == 1
    (second,) = received(channel, "downstream", 1)
    assert first.properties.message_id == second.properties.message_id
    assert first.body == second.body


def test_events_for_an_exchange_that_was_deleted_are_kept(
    database: Database, relay: Relay, channel: BlockingChannel
) -> None:
    relay.run_once()
    channel.exchange_delete(EXCHANGE)
    flag(database, accept(database))
    with pytest.raises(UnavailableError):
        relay.run_once()
    assert rows(database, "SELECT published_at FROM events") == [(None,)]
    assert states(database) == {"ready"}
    pass_time(database, 31)
    relay.run_once()
    assert rows(database, "SELECT published_at IS NOT NULL FROM events") == [(True,)]
    assert states(database) == {"sent"}


def test_without_rabbitmq_everything_stays_as_it_is(database: Database) -> None:
    flag(database, accept(database))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{closed.getsockname()[1]}/?connection_attempts=1"
        relay = Relay(database, ConfirmingPublisher(url, EXCHANGE), EXCHANGE)
        with pytest.raises(UnavailableError):
            relay.run_once()
    assert states(database) == {"ready"}
    assert rows(database, "SELECT leased_until FROM events") == [(None,)]


def test_a_connection_lost_while_publishing_puts_the_rows_back(
    database: Database, relay: Relay, channel: BlockingChannel
) -> None:
    relay.run_once()
    accept(database)
    connection = relay._publisher._connection  # pyright: ignore[reportAttributeAccessIssue] - to cut it
    connection._transport._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(UnavailableError):
        relay.run_once()
    assert states(database) == {"ready"}
    relay.run_once()
    received(channel, Queue.PAYMENTS, 1)
    assert states(database) == {"sent"}


def test_what_a_dead_relay_had_marked_comes_back_by_the_sweeper(
    database: Database, relay: Relay, channel: BlockingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(database)
    with database.connection() as connection:  # taken, committed, and then it died
        ledger.take_due_jobs(connection, limit=10, everything=False)
    assert relay.run_once().idle
    assert sweep_once(database) == 0
    pass_time(database, 61)
    assert sweep_once(database) == 1
    relay.run_once()
    received(channel, Queue.PAYMENTS, 1)


def test_two_relays_at_once_move_each_job_once(
    database: Database, make_relay: Callable[[], Relay], channel: BlockingChannel
) -> None:
    for _ in range(60):
        accept(database)

    def drain(relay: Relay) -> int:
        moved = 0
        while (counts := relay.run_once()).jobs:
            moved += counts.jobs
        return moved

    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(drain, [make_relay(), make_relay()])) == 60
    found: list[UUID] = []
    while len(found) < 60:
        found += one_message(channel, Queue.PAYMENTS).ids
    assert sorted(found) == job_ids(database)
    received(channel, Queue.PAYMENTS, 0)


def test_a_dead_job_is_announced_in_the_dead_letter_queue(
    database: Database, make_relay: Callable[[], Relay], channel: BlockingChannel
) -> None:
    accept(database)
    with database.transaction() as tx:
        (job,) = ledger.claim_jobs(tx, kind=JobKind.INITIALIZE_PAYMENT, ids=job_ids(database), lease_seconds=60)
        ledger.apply_decision(tx, job, Park(), error="broken")
    assert make_relay().run_once().dead == 1
    (message,) = received(channel, "payments.XQ", 1)
    assert message.ids == [job.id]
    assert make_relay().run_once().dead == 0
    received(channel, Queue.PAYMENTS, 0)


def test_a_dead_job_whose_announcement_was_lost_is_announced_again(
    database: Database, make_relay: Callable[[], Relay], channel: BlockingChannel
) -> None:
    accept(database)
    with database.transaction() as tx:
        (job,) = ledger.claim_jobs(tx, kind=JobKind.INITIALIZE_PAYMENT, ids=job_ids(database), lease_seconds=60)
        ledger.apply_decision(tx, job, Park(), error="broken")
    unlucky = make_relay()
    unlucky._publisher.connect()
    channel.queue_delete("payments.XQ")
    unlucky.run_once()
    assert make_relay().run_once().dead == 1
    assert one_message(channel, "payments.XQ").ids == [job.id]


def test_a_payment_is_shown_in_the_event_as_it_stood(database: Database) -> None:
    payment: Payment = accept(database)
    flag(database, payment)
    (data,) = rows(database, "SELECT data FROM events")[0]
    assert data["reviewReason"] == payment_now(database, payment.id).review_reason
