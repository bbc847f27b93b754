"""The clockwork: when the janitor's rounds are made (see `jobs/janitor.py`), dead letters looked through, and more.

Any number may run; one of them leads.
"""

# APScheduler ships no types: what comes from it is unknown to the type checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from db.clock import ensure_partitions
from domain.errors import UnavailableError
from jobs import janitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.connection import Database
    from workers.dead_letters import DeadLetterQueues

_log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5
LETTERS_SECONDS = 5
LOOK_SECONDS = 10
REVIVE_SECONDS = 300
_PARTITION_SECONDS = 3_600
_CLOCK_SECONDS = 1.0
_LEADER_KEY = 0x70667363  # "pfsc"; any number that nobody else on this database uses
_TRY_LEAD = "SELECT pg_try_advisory_lock(%s)"


class Leadership:
    """Held by at most one process at a time: a Postgres advisory lock on a connection kept for it.

    Losing it late is harmless: everything a leader does, two may do.
    """

    def __init__(self, database_url: str) -> None:
        """Take the address; nothing is connected yet."""
        self._url = database_url
        self._connection: psycopg.Connection | None = None
        self._lock = threading.Lock()

    def is_mine(self) -> bool:
        """Whether this process leads now; tries to take the lead if nobody does."""
        with self._lock:
            return self._is_mine()

    def give_up(self) -> None:
        """Let go of the lead."""
        with self._lock:
            self._give_up()

    def _is_mine(self) -> bool:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True, application_name="payfleet-leader")
                row = self._connection.execute(_TRY_LEAD, [_LEADER_KEY]).fetchone()
                if row is None or not row[0]:
                    self._give_up()
                    return False
                _log.info("scheduler.leads")
            self._connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._give_up()
            return False
        return True

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def run_scheduler(
    database: Database,
    database_url: str,
    stop: threading.Event,
    *,
    looks_a_minute: int,
    letters: DeadLetterQueues | None = None,
) -> None:
    """Tick until told to stop, whenever this process leads.

    Args:
        database: what is looked after.
        database_url: its address, for the lead.
        stop: ends it.
        looks_a_minute: bounds the looks at Paystack that nobody asked for.
        letters: RabbitMQ's dead-letter queues; None without a RabbitMQ.

    """
    looks_max = max(1, looks_a_minute * LOOK_SECONDS // 60)
    leadership = Leadership(database_url)

    def partition() -> None:
        with database.connection() as connection:
            ensure_partitions(connection)

    def when_leading(action: Callable[[], object]) -> Callable[[], None]:
        def tick() -> None:
            try:
                if leadership.is_mine():
                    action()
            except UnavailableError as error:
                _log.warning("scheduler.unavailable", error=str(error))

        return tick

    # One thread for what needs Postgres alone, one for what waits for RabbitMQ. A late tick still runs (APScheduler
    # drops those later than a second by default), and several late ones run once.
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={name: {"type": "threadpool", "max_workers": 1} for name in ("default", "rabbitmq")},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    scheduler.add_job(when_leading(lambda: janitor.sweep_once(database)), "interval", seconds=SWEEP_SECONDS)
    scheduler.add_job(
        when_leading(lambda: janitor.look_once(database, limit=looks_max)), "interval", seconds=LOOK_SECONDS
    )
    scheduler.add_job(when_leading(lambda: janitor.revive_once(database)), "interval", seconds=REVIVE_SECONDS)
    scheduler.add_job(when_leading(partition), "interval", seconds=_PARTITION_SECONDS)
    if letters is not None:
        scheduler.add_job(when_leading(letters.run_once), "interval", seconds=LETTERS_SECONDS, executor="rabbitmq")
    scheduler.start()
    _keep_time(scheduler, stop)
    scheduler.shutdown(wait=True)
    if letters is not None:
        letters.close()
    leadership.give_up()


def _keep_time(scheduler: BackgroundScheduler, stop: threading.Event) -> None:
    """Wait for the end. Where the machine's clock is set back meanwhile, every tick is due at once.

    APScheduler goes by that clock: it would tick no more until the clock shows again what it has shown before.
    """
    shown = time.time()
    while not stop.wait(_CLOCK_SECONDS):
        before, shown = shown, time.time()
        if shown < before:
            _log.warning("scheduler.clock_set_back", seconds=round(before - shown))
            for job in scheduler.get_jobs():
                job.modify(next_run_time=datetime.fromtimestamp(shown, UTC))
