"""A lookup by id looks into the one partition that its id names, with the plan that the service uses."""

from collections.abc import Iterator
from typing import Any, LiteralString, cast

import pytest

from db import events, payments
from db.connection import Connection
from db.migrate import migrate
from tests import services

PARTITIONED = ("payments_", "payment_history_", "events_")


def partitions_scanned(connection: Connection, sql: str, parameter: LiteralString, values: list[Any]) -> set[str]:
    """Run a statement by its generic plan; returns the partitions that were really looked into."""
    prepared = sql.replace(f"%({parameter})s", "$1")
    assert "%(" not in prepared
    kind = "uuid[]" if isinstance(values[0], list) else "uuid"
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.execute(cast("LiteralString", f"PREPARE looked ({kind}) AS {prepared}"))
    try:
        literal = str(values[0]).replace("[", "{").replace("]", "}").replace("UUID(", "").replace(")", "")
        literal = literal.replace("'", "")
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE looked ('{literal}')"
        row = connection.execute(cast("LiteralString", explain)).fetchone()
    finally:
        connection.execute("DEALLOCATE looked")
    assert row is not None
    return {
        node["Relation Name"]
        for node in nodes(row[0][0]["Plan"])
        if node.get("Relation Name", "").startswith(PARTITIONED)
        and node["Actual Loops"] > 0
        and "Scan" in node["Node Type"]
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.fixture(scope="module")
def busy(postgres_server: services.Found) -> Iterator[Connection]:
    """A database after some business: the planner has no reason to read small tables whole."""
    with services.fresh_database(postgres_server) as url:
        migrate(url)
        with Connection.connect(url, autocommit=True, options="-c TimeZone=UTC") as connection:
            connection.execute(FILL)
            connection.execute("ANALYZE")
            yield connection


FILL = """
WITH payment AS (
    INSERT INTO payments (id, user_id, order_id, amount, currency, email_sealed, created_at, updated_at)
    SELECT payfleet_uuid7(now()), 'u', 'o', 100, 'NGN', '', now(), now() FROM generate_series(1, 20000)
    RETURNING id
)
INSERT INTO events (id, type, subject, data, correlation_id, created_at)
SELECT payfleet_uuid7(now()), 't', id, '{}', 'c', now() FROM payment
"""


def test_one_payment_is_read_from_one_partition(busy: Connection) -> None:
    found = busy.execute("SELECT id FROM payments LIMIT 1").fetchone()
    assert found is not None
    assert len(partitions_scanned(busy, payments._GET, "id", [found[0]])) == 1


@pytest.mark.parametrize(
    "statement",
    [payments._GET_MANY, payments._LOCK_MANY, payments._GET_ORDERS],
    ids=["get", "lock", "orders"],
)
def test_a_batch_of_payments_is_read_from_their_partition(busy: Connection, statement: str) -> None:
    ids = [row[0] for row in busy.execute("SELECT id FROM payments LIMIT 32").fetchall()]
    assert len(partitions_scanned(busy, statement, "ids", [ids])) == 1


def test_events_are_marked_in_their_partition(busy: Connection) -> None:
    ids = [row[0] for row in busy.execute("SELECT id FROM events LIMIT 32").fetchall()]
    assert len(partitions_scanned(busy, events._MARK, "ids", [ids])) == 1
