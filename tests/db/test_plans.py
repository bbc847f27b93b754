"""Plans are made once and kept, perhaps since the first day: none may read a table whole when it has grown."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, LiteralString, cast
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from db import attempts, books, events, history, jobs, methods, orders, payments, refunds, verifications, webhooks
from db.connection import _SESSION_OPTIONS, Connection
from db.migrate import migrate
from tests import services

IDS = [UUID("01890000-0000-7000-8000-000000000001"), UUID("01890000-0000-7000-8000-000000000002")]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OF_A_USER: dict[str, object] = {
    "user_id": "user-1",
    "since": None,
    "until": None,
    "status": None,
    "currency": None,
    "cursor": None,
}
STATEMENTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "claim": (jobs._CLAIM, {"ids": IDS, "kind": "k", "lease_seconds": 1.0}),
    "read": (jobs._READ, {"ids": IDS, "kind": "k"}),
    "finish": (jobs._FINISH, {"ids": IDS, "tokens": [1, 1]}),
    "take due": (jobs._TAKE_DUE, {"limit": 500, "back": 600.0}),
    "open attempts": (
        attempts._OPEN,
        {"job_ids": IDS, "tokens": [1, 1], "payment_ids": IDS, "references": ["a", "b"], "kind": "k"},
    ),
    "settle attempts": (
        attempts._SETTLE,
        {"job_ids": IDS, "tokens": [1, 1], "outcomes": ["done", "done"], "details": ["", ""]},
    ),
    "get payments": (payments._GET_MANY, {"ids": IDS}),
    "lock payments": (payments._LOCK_MANY, {"ids": IDS}),
    "order details": (payments._GET_ORDERS, {"ids": IDS}),
    "write changes": (payments._WRITE_CHANGES, {"ids": IDS, "changes": Jsonb([])}),
    "timeline": (history._TIMELINE, {"payment_id": IDS[0]}),
    "next steps": (history._NEXT, {"ids": IDS, "keys": ["a", "b"]}),
    "page of a user": (history._PAGE, {**OF_A_USER, "offset": 0, "limit": 20}),
    "count of a user": (history._COUNT, {**OF_A_USER, "counted": 10_001}),
    "pay orders": (orders._PAY, {"order_ids": ["a", "b"], "payment_ids": IDS}),
    "get payers": (orders._GET_PAYERS, {"order_ids": ["a", "b"]}),
    "release orders": (orders._RELEASE, {"order_ids": ["a", "b"], "payment_ids": IDS}),
    "get refunds": (refunds._GET, {"ids": IDS}),
    "get refunds at the gateway": (refunds._GET_AT_GATEWAY, {"numbers": [9001, 9002]}),
    "get refunds of payments": (refunds._GET_OF_PAYMENTS, {"ids": IDS}),
    "get sendings": (refunds._GET_SENDINGS, {"ids": IDS}),
    "get unsettled refunds": (refunds._GET_UNSETTLED, {"transactions": [7001, 7002]}),
    "mark refunds sent": (refunds._MARK_SENT, {"ids": IDS}),
    "mark refunds not sent": (refunds._MARK_NOT_SENT, {"ids": IDS}),
    "mark refunds searched": (refunds._MARK_SEARCHED, {"ids": IDS}),
    "write refunds": (refunds._WRITE, {"ids": IDS, "changes": Jsonb([])}),
    "overdue orders": (orders._GET_OVERDUE, {"limit": 100}),
    "look later": (orders._LOOK_LATER, {"order_ids": ["a", "b"], "seconds": 1.0}),
    "get methods": (methods._GET_MANY, {"ids": IDS}),
    "get active methods": (methods._GET_ACTIVE, {"user_id": "u"}),
    "ensure default": (methods._ENSURE_DEFAULT, {"user_id": "u"}),
    "get webhooks": (webhooks._GET, {"ids": IDS}),
    "mark webhooks": (
        webhooks._MARK,
        {"ids": IDS, "verdicts": ["applied"] * 2, "events": ["e"] * 2, "reasons": [""] * 2, "payment_ids": IDS},
    ),
    "tried references": (attempts._GET_TRIED, {"payment_ids": IDS}),
    "request a look": (
        verifications._REQUEST,
        {
            "kind": "k",
            "queue": "q",
            "payment_id": IDS[0],
            "dedupe_key": "d",
            "correlation_id": "c",
            "trace_context": "",
        },
    ),
    "finish looks": (verifications._FINISH, {"ids": IDS, "tokens": [1, 1], "looked_ats": [NOON, NOON]}),
    "note looks": (
        verifications._NOTE,
        {"ids": IDS, "looked_ats": [NOON, NOON], "statuses": ["success"] * 2, "errors": ["e"] * 2},
    ),
    "page of the books": (books._PAYMENTS_PAGE, {"after": IDS[0], "until": IDS[1], "limit": 10}),
    "events of the books": (books._EVENTS_PAGE, {"after": IDS[0], "until": IDS[1], "limit": 10}),
    "refunds of the books": (books._REFUNDS_PAGE, {"after": IDS[0], "until": IDS[1], "limit": 10}),
    "transactions of the books": (books._TRANSACTIONS, {"ids": IDS}),
    "lease events": (events._LEASE, {"limit": 500, "lease_seconds": 1.0}),
    "mark events": (events._MARK, {"ids": IDS}),
}


@pytest.fixture(scope="module", params=["never vacuumed", "vacuumed"])
def empty(request: pytest.FixtureRequest, postgres_server: services.Found) -> Iterator[Connection]:
    """A database on its first day, when the planner thinks nothing of reading whole tables."""
    with services.fresh_database(postgres_server) as url:
        migrate(url)
        with Connection.connect(url, autocommit=True, options=_SESSION_OPTIONS) as connection:
            if request.param == "vacuumed":
                connection.execute("VACUUM (ANALYZE)")
            yield connection


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_plan_made_on_an_empty_database_finds_its_rows_by_their_ids(empty: Connection, name: str) -> None:
    sql, parameters = STATEMENTS[name]
    row = empty.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {sql}"), parameters).fetchone()
    assert row is not None
    scans = [node for node in nodes(row[0][0]["Plan"]) if "Relation Name" in node and "Scan" in node["Node Type"]]
    for scan in scans:
        assert scan["Node Type"] != "Seq Scan", scan
        assert "Index Cond" in scan or "Bitmap" in scan["Node Type"] or is_of_the_unpublished(scan), scan


@pytest.mark.parametrize("name", ["page of a user", "count of a user"])
def test_a_users_payments_are_never_looked_for_among_everybodys(empty: Connection, name: str) -> None:
    sql, parameters = STATEMENTS[name]
    row = empty.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {sql}"), parameters).fetchone()
    assert row is not None
    indexes = [node["Index Name"] for node in nodes(row[0][0]["Plan"]) if "Index Name" in node]
    assert indexes
    assert all("user_id" in name for name in indexes), indexes


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def is_of_the_unpublished(scan: dict[str, Any]) -> bool:
    """Whether an index is walked that holds only what is still to be told."""
    return scan.get("Index Name", "").startswith("events_") and scan["Index Name"].endswith("_id_idx")
