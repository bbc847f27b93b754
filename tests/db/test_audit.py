"""The audit log keeps what was written: with the act or not at all, and for good."""

import secrets
from typing import LiteralString

import psycopg
import pytest

from db.audit import Act, Action, get_acts_on, insert_acts
from db.connection import Database
from tests.stories import rows


def subject() -> str:
    """Somebody new: the log of earlier tests cannot be emptied."""
    return f"job_{secrets.token_hex(8)}"


def test_an_act_is_read_back_with_its_actor_its_time_and_its_details(database: Database) -> None:
    one, other = subject(), subject()
    with database.transaction() as tx:
        details = {"reason": "no such payment"}
        insert_acts(tx, [Act(Action.JOB_DISCARDED, one, details), Act(Action.JOB_RETRIED, other, {})], actor="ada")
        insert_acts(tx, [], actor="nobody")
    with database.connection() as connection:
        (entry,) = get_acts_on(connection, one)
    assert (entry.actor, entry.action, entry.details) == ("ada", "job.discarded", {"reason": "no such payment"})
    sql = "SELECT at = %s, payfleet_uuid7_floor(at) < id FROM audit_log WHERE subject = %s"
    assert rows(database, sql, entry.at, one) == [(True, True)]


def test_an_act_that_was_rolled_back_is_not_told(database: Database) -> None:
    whom = subject()
    with pytest.raises(RuntimeError), database.transaction() as tx:
        insert_acts(tx, [Act(Action.JOB_RETRIED, whom, {})], actor="ada")
        raise RuntimeError("the act failed")
    with database.connection() as connection:
        assert get_acts_on(connection, whom) == []


@pytest.mark.parametrize(
    "change", ["UPDATE audit_log SET actor = 'eve'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_nothing_can_be_changed_or_taken_away(database: Database, change: LiteralString) -> None:
    whom = subject()
    with database.transaction() as tx:
        insert_acts(tx, [Act(Action.JOB_RETRIED, whom, {})], actor="ada")
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        rows(database, change)
    with database.connection() as connection:
        assert [entry.actor for entry in get_acts_on(connection, whom)] == ["ada"]
