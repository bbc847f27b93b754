"""The payments of a user page by page, and the timeline of one payment with what happens to it next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.payments import COLUMNS, payment_of_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from db.connection import Connection
    from domain.money import Currency
    from domain.payment import Payment, PaymentStatus

# Ids carry the time, so dates and cursors are bounds of ids, and a page deep down costs what the first one costs. User
# and id are compared as one: with the user apart, a plan made for any user would walk all payments by id until it has
# met enough of this one's, which for most users is never.
_OF_USER = """
(p.user_id, p.id) >= (%(user_id)s, coalesce(
    payfleet_uuid7_floor(%(since)s::timestamptz), '00000000-0000-0000-0000-000000000000'::uuid))
AND (p.user_id, p.id) < (%(user_id)s, coalesce(
    least(%(cursor)s::uuid, payfleet_uuid7_floor(%(until)s::timestamptz)),
    'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
"""
_FITTING = """
(%(status)s::payment_status IS NULL OR p.status = %(status)s::payment_status)
AND (%(currency)s::text IS NULL OR p.currency = %(currency)s::text)
"""
_PAGE = f"""
SELECT {COLUMNS} FROM payments p WHERE {_OF_USER} AND {_FITTING}
ORDER BY p.user_id DESC, p.id DESC OFFSET %(offset)s LIMIT %(limit)s
"""  # noqa: S608 - made of constants
# What is looked at is bounded, not what is found: a rare status must not make the count read a whole life.
_COUNT = f"""
SELECT count(*) FILTER (WHERE {_FITTING}), count(*)
FROM (
    SELECT p.status, p.currency FROM payments p WHERE {_OF_USER}
    ORDER BY p.user_id DESC, p.id DESC LIMIT %(counted)s
) p
"""  # noqa: S608 - too
_TIMELINE = """
SELECT fact, status, source, details, correlation_id, created_at FROM payment_history
WHERE payment_id = %(payment_id)s ORDER BY version
"""
_NEXT = """
SELECT kind, state, run_at, failures, last_error FROM jobs WHERE id = ANY(%(ids)s::uuid[])
UNION
SELECT kind, state, run_at, failures, last_error FROM jobs
WHERE dedupe_key = ANY(%(keys)s::text[]) AND state <> 'dead'
ORDER BY run_at
"""

COUNTED_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which payments of a user are meant; `since` is inclusive, `until` is not, and `cursor` is the last one seen."""

    user_id: str
    since: datetime | None = None
    until: datetime | None = None
    status: PaymentStatus | None = None
    currency: Currency | None = None
    cursor: UUID | None = None


@dataclass(frozen=True, slots=True)
class TotalCount:
    """How many payments fit; when not exact, as many as are among the newest `COUNTED_MAX` of the user."""

    count: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of a payment's history."""

    fact: str
    status: str
    source: str
    details: dict[str, Any]
    correlation_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NextStep:
    """A job that is to do something for a payment; a dead one waits for a person."""

    kind: str
    state: str
    run_at: datetime
    failures: int
    last_error: str | None


def get_user_payments(connection: Connection, wanted: HistoryFilter, *, offset: int, limit: int) -> list[Payment]:
    """Read payments of a user, newest first."""
    rows = connection.execute(_PAGE, {**_parameters(wanted), "offset": offset, "limit": limit}).fetchall()
    return [payment_of_row(row) for row in rows]


def count_user_payments(connection: Connection, wanted: HistoryFilter) -> TotalCount:
    """Count payments of a user, looking at the newest `COUNTED_MAX` at most."""
    parameters = {**_parameters(wanted), "counted": COUNTED_MAX + 1}
    fitting, looked_at = connection.execute(_COUNT, parameters).fetchall()[0]
    return TotalCount(min(fitting, COUNTED_MAX), is_exact=looked_at <= COUNTED_MAX)


def get_timeline(connection: Connection, payment_id: UUID) -> list[TimelineEntry]:
    """Read a payment's history, oldest line first."""
    return [TimelineEntry(*row) for row in connection.execute(_TIMELINE, {"payment_id": payment_id}).fetchall()]


def get_next_steps(connection: Connection, *, ids: Sequence[UUID], dedupe_keys: Sequence[str]) -> list[NextStep]:
    """Find the jobs with these ids or dedupe keys that are still in the ledger, the next due first."""
    return [NextStep(*row) for row in connection.execute(_NEXT, {"ids": ids, "keys": dedupe_keys}).fetchall()]


def _parameters(wanted: HistoryFilter) -> dict[str, object]:
    return {
        "user_id": wanted.user_id,
        "since": wanted.since,
        "until": wanted.until,
        "status": wanted.status,
        "currency": wanted.currency,
        "cursor": wanted.cursor,
    }
