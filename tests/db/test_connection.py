"""The way to Postgres: what counts as "not there", and what stays a defect."""

import psycopg
import pytest

from db.connection import Connection, Database
from domain.errors import UnavailableError
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


def test_a_pool_recovers_from_connections_that_were_cut_while_idle(migrated_url: str, database: Database) -> None:
    with Database(migrated_url, minimum=4, maximum=4, name="restarted") as restarted:
        assert eventually(lambda: works(restarted))
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'payfleet-restarted'"
        rows(database, sql)
        eventually(lambda: all(works(restarted) for _ in range(8)))


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
