"""The one clock and the partitions that follow it."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from db.clock import advance_test_clock, ensure_partitions, get_now
from db.connection import Database
from db.migrate import migrate
from domain.errors import SettingsError
from tests.stories import accept, milliseconds, payment_now, rows, settings_for

PARTITIONS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid
JOIN pg_class parent ON parent.oid = inhparent WHERE parent.relname = 'payments' ORDER BY c.relname
"""


def test_time_passes_for_everything_that_is_stored(database: Database) -> None:
    before = accept(database)
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(hours=5))
    after = accept(database)
    assert timedelta(hours=5) <= after.created_at - before.created_at < timedelta(hours=6)
    assert after.id.int >> 80 == milliseconds(after.created_at)


def test_the_clock_cannot_be_moved_while_real_money_moves(database: Database) -> None:
    live = settings_for("postgresql://", paystack_secret_key="sk_live_x")
    with database.connection() as connection:
        before = get_now(connection)
        with pytest.raises(SettingsError, match="live key"):
            advance_test_clock(connection, settings=live, by=timedelta(days=1))
        assert get_now(connection) - before < timedelta(hours=1)


def test_a_payment_finds_its_partition_after_months_have_passed(database: Database) -> None:
    with database.connection() as connection:
        for _ in range(3):
            advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(days=150))
            assert payment_now(database, accept(database).id)


def test_ensuring_partitions_again_changes_nothing(database: Database) -> None:
    before = rows(database, PARTITIONS)
    with database.connection() as connection:
        assert ensure_partitions(connection) == 0
    assert rows(database, PARTITIONS) == before


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Africa/Lagos", "Pacific/Auckland"])
def test_partitions_meet_without_a_gap_whatever_zone_the_server_keeps(fresh_url: str, zone: str) -> None:
    migrate(f"{fresh_url}?options=-c%20TimeZone%3D{zone}")
    with psycopg.connect(f"{fresh_url}?options=-c%20TimeZone%3D{zone}", autocommit=True) as connection:
        for month in range(1, 13):
            around = datetime(2027, month, 15, tzinfo=UTC)
            connection.execute("SELECT payfleet_ensure_partitions(%s, 3)", [around])
        for day in range(365):
            at = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=day)
            for instant in (at - timedelta(milliseconds=1), at):
                connection.execute(
                    """
                    INSERT INTO payment_history (payment_id, version, fact, status, source, correlation_id, created_at)
                    VALUES (payfleet_uuid7(%(at)s), 1, 'x', 'PENDING', 'x', 'x', %(at)s)
                    """,
                    {"at": instant},
                )
        misplaced = connection.execute(
            """
            SELECT count(*) FROM payment_history
            WHERE tableoid::regclass::text
                <> to_char(created_at AT TIME ZONE 'UTC', '"payment_history_"YYYY_MM')
            """
        ).fetchone()
    assert misplaced == (0,)
