"""Requests for looks and the looks themselves, at once: none is lost, none is made for nothing."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from db import jobs as ledger
from db import payments, verifications
from db.clock import get_now
from db.connection import Connection, Database
from db.jobs import NewJob, enqueue_jobs
from db.verifications import NotedLook
from domain.errors import ErrorCode
from domain.jobs import ClaimedJob, JobKind, dedupe_key
from domain.payment import Payment
from domain.retry import Postpone, RetryIn
from tests.patience import eventually
from tests.stories import accept, job_ids, payment_now, rows

KIND = JobKind.VERIFY_PAYMENT


@pytest.fixture
def payment(database: Database) -> Payment:
    return accept(database)


def request(connection: Connection, payment: Payment) -> datetime:
    return verifications.request_look(connection, payment.id, correlation_id="req_look")


def ask(database: Database, payment: Payment) -> datetime:
    with database.connection() as connection:
        return request(connection, payment)


def claim(database: Database) -> tuple[ClaimedJob, datetime]:
    """Begin a look."""
    with database.transaction() as tx:
        (job,) = ledger.claim_jobs(tx, kind=KIND, ids=looks(database), lease_seconds=60)
    with database.connection() as connection:
        return job, get_now(connection)


def finish(database: Database, *begun: tuple[ClaimedJob, datetime]) -> set[UUID]:
    with database.transaction() as tx:
        return verifications.finish_looks(tx, begun)


def looks(database: Database) -> list[UUID]:
    return job_ids(database, KIND)


def job_row(database: Database) -> tuple[Any, ...]:
    columns = "SELECT state::text, failures, last_error, lease_until IS NULL, run_at <= payfleet_now() FROM jobs"
    (row,) = rows(database, f"{columns} WHERE kind = %s", KIND)
    return row


@contextmanager
def waiting_behind(database: Database, call: Any, *arguments: Any) -> Generator[Future[Any]]:
    """Start a call that a lock of the present transaction holds up; it goes on after the block."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(call, database, *arguments)
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        eventually(lambda: rows(database, blocked) == [(1,)])
        yield future


def test_a_request_makes_one_job_however_often_it_is_made(database: Database, payment: Payment) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask(database, payment), range(24)))
    assert len(looks(database)) == 1


def test_a_look_that_nobody_asked_for_again_is_done(database: Database, payment: Payment) -> None:
    asked_at = ask(database, payment)
    job, looked_at = claim(database)
    assert asked_at <= looked_at
    assert finish(database, (job, looked_at)) == {job.id}
    assert looks(database) == []


def test_a_request_at_work_does_not_make_the_claim_pass_over_its_job(database: Database, payment: Payment) -> None:
    ask(database, payment)
    with database.transaction() as tx:
        request(tx, payment)
        job, _ = claim(database)
    assert [job.id] == looks(database)


def test_a_request_while_the_look_ends_is_heeded(database: Database, payment: Payment) -> None:
    ask(database, payment)
    begun = claim(database)
    with database.connection() as connection:
        connection.execute("BEGIN")
        request(connection, payment)
        with waiting_behind(database, finish, begun) as finished:
            connection.execute("COMMIT")
        assert finished.result() == {begun[0].id}, "its effect is written"
    assert job_row(database) == ("ready", 0, None, True, True), "and another look will be made"
    again = claim(database)
    assert finish(database, begun) == set(), "the old token is worth nothing"
    assert finish(database, again) == {again[0].id}
    assert looks(database) == []


def test_a_request_just_after_the_end_makes_a_new_job(database: Database, payment: Payment) -> None:
    ask(database, payment)
    begun = claim(database)
    with database.connection() as connection:
        connection.execute("BEGIN")
        verifications.finish_looks(connection, [begun])
        with waiting_behind(database, ask, payment) as asked:
            connection.execute("COMMIT")
        asked.result()
    (job_id,) = looks(database)
    assert job_id != begun[0].id


def test_a_look_that_was_planned_for_later_is_brought_forward(database: Database, payment: Payment) -> None:
    planned = NewJob(
        kind=KIND,
        payload={"payment_id": str(payment.id)},
        correlation_id="req_plan",
        dedupe_key=dedupe_key(KIND, payment.id),
        delay_seconds=3600,
    )
    with database.transaction() as tx:
        enqueue_jobs(tx, [planned])
    ask(database, payment)
    assert job_row(database) == ("ready", 0, None, True, True)


@pytest.mark.parametrize("decision", [RetryIn(60), Postpone(60)])
def test_a_look_that_failed_keeps_its_time(database: Database, payment: Payment, decision: RetryIn | Postpone) -> None:
    ask(database, payment)
    job, _ = claim(database)
    with database.transaction() as tx:
        ledger.apply_decision(tx, job, decision, error="no luck")
    ask(database, payment)
    assert job_row(database)[-1] is False
    assert looks(database) == [job.id]


def test_a_request_while_the_look_fails_does_not_bring_the_next_try_forward(
    database: Database, payment: Payment
) -> None:
    ask(database, payment)
    job, _ = claim(database)
    with database.connection() as connection:
        connection.execute("BEGIN")
        ledger.apply_decision(connection, job, Postpone(60), error="the quota is spent")
        with waiting_behind(database, ask, payment) as asked:
            connection.execute("COMMIT")
        asked.result()
    assert job_row(database) == ("ready", 0, "the quota is spent", True, False)


def test_an_older_look_changes_nothing(database: Database, payment: Payment) -> None:
    with database.transaction() as tx:
        now = get_now(tx)
        for age, status, error in ((0, "success", None), (1, "abandoned", None), (2, None, ErrorCode.GATEWAY_ERROR)):
            looked_at = now - timedelta(seconds=age)
            look = NotedLook(payment_id=payment.id, looked_at=looked_at, gateway_status=status, error=error)
            verifications.note_looks(tx, [look])
    seen = payment_now(database, payment.id)
    assert (seen.verified_at, seen.gateway_status, seen.verification_error) == (now, "success", None)
    assert seen.version == payment.version, "a look is no change"


def test_looks_of_many_payments_are_noted_each_with_its_own(database: Database) -> None:
    some = [accept(database) for _ in range(5)]
    with database.transaction() as tx:
        now = get_now(tx)
        verifications.note_looks(
            tx,
            [
                NotedLook(payment_id=payment.id, looked_at=now, gateway_status=f"s{number}", error=None)
                for number, payment in reversed(list(enumerate(some)))
            ],
        )
        found = payments.get_payments(tx, [payment.id for payment in some])
    assert [found[payment.id].gateway_status for payment in some] == ["s0", "s1", "s2", "s3", "s4"]
