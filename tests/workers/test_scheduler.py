"""The clockwork: one leads, what was lost comes back, and standing still for months leaves partitions."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace

import pytest

from db import jobs as ledger
from db.clock import advance_test_clock
from db.connection import Database
from tests.patience import eventually
from tests.stories import accept, rows, settings_for
from workers import scheduler
from workers.scheduler import Leadership, run_scheduler


def test_one_of_two_leads_and_the_other_takes_over(migrated_url: str) -> None:
    one, other = Leadership(migrated_url), Leadership(migrated_url)
    assert one.is_mine()
    assert not other.is_mine()
    assert one.is_mine(), "and goes on leading"
    one.give_up()
    assert other.is_mine()
    assert not one.is_mine()
    other.give_up()


def test_a_leader_whose_connection_is_cut_leads_no_more_until_it_is_elected_again(migrated_url: str) -> None:
    one, other = Leadership(migrated_url), Leadership(migrated_url)
    assert one.is_mine()
    assert one._connection is not None
    one._connection.close()
    assert other.is_mine()
    assert not one.is_mine()
    one.give_up()
    other.give_up()


def test_two_threads_of_a_process_lead_together(migrated_url: str) -> None:
    for _ in range(5):
        leadership = Leadership(migrated_url)
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda _, one=leadership: one.is_mine(), range(2))) == [True, True]
        leadership.give_up()


def test_without_postgres_nobody_leads() -> None:
    assert not Leadership("postgresql://nobody@127.0.0.1:1/none").is_mine()


@contextmanager
def running_scheduler(database: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setattr(scheduler, "SWEEP_SECONDS", 0.1)
    stop = threading.Event()
    thread = threading.Thread(target=run_scheduler, args=(database, url, stop), kwargs={"looks_a_minute": 60})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def lose_a_job(database: Database) -> None:
    accept(database)
    with database.connection() as connection:
        ledger.take_due_jobs(connection, limit=1, everything=False)
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=61))


def is_back(database: Database) -> bool:
    return rows(database, "SELECT state::text FROM jobs") == [("ready",)]


def test_a_running_scheduler_brings_a_lost_job_back(
    database: Database, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_a_job(database)
    with running_scheduler(database, migrated_url, monkeypatch):
        eventually(lambda: is_back(database))


def test_a_clock_that_is_set_back_does_not_stop_the_clockwork(
    database: Database, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's clock, as APScheduler and the scheduler read it, goes back by an hour while it runs."""
    back = timedelta()

    class Watch(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - back

    for module in ("apscheduler.schedulers.base", "apscheduler.triggers.interval"):
        monkeypatch.setattr(f"{module}.datetime", Watch)
    monkeypatch.setattr(scheduler, "time", SimpleNamespace(time=lambda: Watch.now(UTC).timestamp()))
    monkeypatch.setattr(scheduler, "_CLOCK_SECONDS", 0.05)
    with running_scheduler(database, migrated_url, monkeypatch):
        lose_a_job(database)
        eventually(lambda: is_back(database))
        back = timedelta(hours=1)
        rows(database, "DELETE FROM jobs")
        lose_a_job(database)
        eventually(lambda: is_back(database))
