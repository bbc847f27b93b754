"""The way to Postgres: what counts as "not there", and what stays a defect."""

import time
from collections.abc import Generator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from db.connection import Connection, Database
from domain.errors import ReadOnlyError, UnavailableError
from tests import services
from tests.patience import eventually
from tests.stories import rows


def works(database: Database) -> bool:
    try:
        return rows(database, "SELECT 1") == [(1,)]
    except UnavailableError:
        return False


def test_a_session_keeps_utc_plans_generically_and_waits_for_nothing_for_ever(database: Database) -> None:
    settings = {
        "TimeZone": "UTC",
        "plan_cache_mode": "force_generic_plan",
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
    }
    sql = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)"
    assert dict(rows(database, sql, list(settings))) == settings


def test_an_error_inside_a_transaction_takes_everything_back(database: Database) -> None:
    def half_a_story(tx: Connection) -> None:
        tx.execute("UPDATE test_clock SET clock_offset = interval '1 day'")
        raise LookupError

    with pytest.raises(LookupError), database.transaction() as tx:
        half_a_story(tx)
    assert rows(database, "SELECT clock_offset = interval '0' FROM test_clock") == [(True,)]


@pytest.mark.parametrize(
    "statements",
    [
        ["SELECT pg_terminate_backend(pg_backend_pid())"],
        ["SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(30)"],
        ["SET LOCAL transaction_read_only = on", "UPDATE test_clock SET clock_offset = interval '1 day'"],
    ],
    ids=["cut off", "too slow", "read only"],
)
def test_a_postgres_that_does_not_serve_counts_as_unavailable(migrated_url: str, statements: list[str]) -> None:
    def run(database: Database) -> None:
        with database.transaction() as tx:
            for statement in statements:
                tx.execute(statement.encode())

    with Database(migrated_url, minimum=1, maximum=1, name="unlucky") as database:
        with pytest.raises(UnavailableError):
            run(database)
        eventually(lambda: works(database))


def test_a_process_that_stalled_inside_a_transaction_hears_that_it_was_cut_off(migrated_url: str) -> None:
    def stall(tx: Connection) -> None:
        tx.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
        time.sleep(0.1)
        tx.execute("SELECT 1")

    with Database(migrated_url, minimum=1, maximum=1, name="stalled") as database:
        with pytest.raises(UnavailableError), database.transaction() as tx:
            stall(tx)
        assert works(database)


def test_a_caller_does_not_notice_that_idle_connections_were_cut(migrated_url: str, database: Database) -> None:
    with Database(migrated_url, minimum=4, maximum=4, name="restarted") as restarted:
        sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'payfleet-restarted'"
        eventually(lambda: len(rows(database, sessions)) == 4)
        for (pid,) in rows(database, sessions):
            rows(database, "SELECT pg_terminate_backend(%s)", pid)
        eventually(lambda: not rows(database, sessions))
        assert all(works(restarted) for _ in range(8))


@pytest.fixture
def private_url(postgres_server: services.Found) -> Generator[str]:
    """A database whose settings a test may change."""
    with services.fresh_database(postgres_server) as url:
        yield url


def alter(url: str, change: LiteralString, database: Database) -> None:
    """Change the settings of the database at `url`, over another one."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with database.connection() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ").format(name) + sql.SQL(change))


def test_after_a_long_outage_postgres_is_found_again_soon(
    private_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's own pauses between tries grow; here so fast that a second one would outlast the test."""
    monkeypatch.setattr("psycopg_pool.base.AttemptWithBackoff.INITIAL_DELAY", 0.1)
    monkeypatch.setattr("psycopg_pool.base.AttemptWithBackoff.DELAY_BACKOFF", 10_000)
    monkeypatch.setattr("db.connection._RECONNECT_SECONDS", 0.3)
    monkeypatch.setattr("db.connection._POOL_WAIT_SECONDS", 0.5)
    alter(private_url, "ALLOW_CONNECTIONS false", database)
    with Database(private_url, minimum=1, maximum=1, name="patient") as patient:
        assert not works(patient)
        alter(private_url, "ALLOW_CONNECTIONS true", database)
        eventually(lambda: works(patient))


def writes(database: Database) -> bool:
    try:
        return rows(database, "CREATE TABLE IF NOT EXISTS kept ()") == []
    except ReadOnlyError:
        return False


def test_sessions_that_maintenance_left_read_only_are_replaced(private_url: str, database: Database) -> None:
    alter(private_url, "SET default_transaction_read_only = on", database)
    with Database(private_url, minimum=1, maximum=1, name="maintained") as maintained:
        assert not writes(maintained)
        alter(private_url, "RESET default_transaction_read_only", database)
        eventually(lambda: writes(maintained))


def test_writes_in_vain_do_not_each_cost_a_session(
    private_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection._READ_ONLY_SESSION_SECONDS", 60.0)
    alter(private_url, "SET default_transaction_read_only = on", database)
    with Database(private_url, minimum=1, maximum=1, name="maintained") as maintained:
        before = rows(maintained, "SELECT pg_backend_pid()")
        assert not any(writes(maintained) for _ in range(3))
        assert rows(maintained, "SELECT pg_backend_pid()") == before


def test_two_transactions_that_wait_for_each_other_count_as_unavailable(database: Database) -> None:
    with pytest.raises(UnavailableError), database.transaction() as one, database.transaction() as other:
        other.execute("UPDATE supported_currencies SET is_active = true WHERE code = 'NGN'")
        one.execute("SET LOCAL lock_timeout = '20ms'")
        one.execute("UPDATE supported_currencies SET is_active = true WHERE code = 'NGN'")


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT nonsense", psycopg.errors.UndefinedColumn),
        ("INSERT INTO test_clock DEFAULT VALUES", psycopg.errors.UniqueViolation),
        ("SELECT 1 / 0", psycopg.errors.DivisionByZero),
    ],
)
def test_a_defect_stays_a_defect(database: Database, sql: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        rows(database, sql.encode())
