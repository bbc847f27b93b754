"""Plans are made once and kept, perhaps since the first day: none may read a table whole when it has grown."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, LiteralString, cast
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from db import (
    attempts,
    audit,
    books,
    dead_letters,
    events,
    history,
    jobs,
    looks,
    methods,
    orders,
    payments,
    refunds,
    stranded,
    verifications,
    webhooks,
)
from db.connection import _SESSION_OPTIONS, Connection
from db.migrate import migrate
from db.stranded import Stranded
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
    "overdue looks": (looks._GET_OVERDUE, {"limit": 100}),
    "overdue look of a payment": (looks._GET_OVERDUE_OF, {"order_id": "a", "payment_id": IDS[0], "seconds": 60.0}),
    "any overdue look": (looks._IS_ANY_OVERDUE, {"seconds": 60.0}),
    "next look": (looks._GET_NEXT, {"order_id": "a", "payment_id": IDS[0]}),
    "drop dead looks": (looks._DROP_DEAD, {"keys": ["a", "b"]}),
    "look later": (looks._LOOK_LATER, {"order_ids": ["a", "b"], "payment_ids": IDS, "look_ats": [NOON, NOON]}),
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
    "page of the dead": (dead_letters._PAGE, {"after": IDS[0], "limit": 1_000}),
    "lock a dead job": (dead_letters._LOCK, {"id": IDS[0]}),
    "get a job": (dead_letters._GET, {"id": IDS[0]}),
    "count the announced": (dead_letters._COUNT_ANNOUNCED, {"queue": "q", "seconds": 60.0, "limit": 5_000}),
    "get the announced": (dead_letters._GET_ANNOUNCED, {"queue": "q", "seconds": 60.0, "limit": 5_000}),
    "which are dead": (dead_letters._GET_DEAD_IDS, {"ids": IDS, "queue": "q"}),
    "lock sent jobs": (jobs._LOCK_SENT, {"ids": IDS}),
    "get a twin": (dead_letters._GET_TWIN, {"dedupe_key": "k"}),
    "acts on a subject": (audit._GET, {"subject": "job_1", "limit": 100}),
    **{
        f"revive {kind}": (sql, {**given, "after": IDS[0], "limit": 500, "correlation_id": "c"})
        for kind, (sql, given) in stranded._STATEMENTS.items()
    },
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
        assert "Index Cond" in scan or "Bitmap" in scan["Node Type"] or is_of_few(scan), scan


@pytest.mark.parametrize("name", ["page of a user", "count of a user"])
def test_a_users_payments_are_never_looked_for_among_everybodys(empty: Connection, name: str) -> None:
    sql, parameters = STATEMENTS[name]
    row = empty.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {sql}"), parameters).fetchone()
    assert row is not None
    indexes = [node["Index Name"] for node in nodes(row[0][0]["Plan"]) if "Index Name" in node]
    assert indexes
    assert all("user_id" in name for name in indexes), indexes


@pytest.mark.parametrize("name", ["page of the dead", "count the announced", "get the announced"])
def test_the_dead_are_not_looked_for_among_the_living(empty: Connection, name: str) -> None:
    sql, parameters = STATEMENTS[name]
    row = empty.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {sql}"), parameters).fetchone()
    assert row is not None
    assert {n["Index Name"] for n in nodes(row[0][0]["Plan"]) if "Index Name" in n} == {"jobs_dead_all_idx"}


OPEN = {
    Stranded.REFUND: "refunds_open_idx",
    Stranded.WEBHOOK: "webhook_events_open_idx",
    Stranded.PAYMENT_METHOD: "payment_methods_pending_idx",
    Stranded.UNKNOWN_CALL: "payment_attempts_unknown_idx",
}


@pytest.mark.parametrize("kind", Stranded)
def test_what_is_open_is_never_looked_for_among_all_that_ever_was(empty: Connection, kind: Stranded) -> None:
    sql, parameters = STATEMENTS[f"revive {kind}"]
    row = empty.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {sql}"), parameters).fetchone()
    assert row is not None
    table = OPEN[kind].rsplit("_", 2)[0]
    scans = [node for node in nodes(row[0][0]["Plan"]) if node.get("Relation Name") == table]
    assert [scan.get("Index Name") for scan in scans] == [OPEN[kind]]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def is_of_few(scan: dict[str, Any]) -> bool:
    """Whether an index is walked that holds only what is still to be told, or what is dead."""
    if scan.get("Index Name") == "jobs_dead_all_idx":
        return True
    return scan.get("Index Name", "").startswith("events_") and scan["Index Name"].endswith("_id_idx")
