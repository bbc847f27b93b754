"""Pages of a list, newest first: by number or by cursor, and the span of time a list call asks for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sandbox.answers import RefusalError
from sandbox.clock import parse_iso
from sandbox.wire import JsonObject

_PER_PAGE = 50
_PER_PAGE_MAX = 100
_DAY_MS = 86_400_000
_DATE_LENGTH = len("2024-08-22")


class Listed(Protocol):
    """What every list is cut by."""

    id: int
    created_at: int


Row = TypeVar("Row", bound=Listed)
Test = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of one page, newest first, and the meta that goes with them."""

    rows: list[Row]
    meta: JsonObject


def matching(rows: Iterable[Row], tests: list[Test[Row]]) -> list[Row]:
    """Pick the rows that pass every test, in their order."""
    return [row for row in rows if all(test(row) for test in tests)]


def by_number(found: list[Row], query: Mapping[str, str]) -> Page[Row]:
    """Cut out one page by its number; beyond the end it is empty.

    Raises:
        RefusalError: 400, if a number cannot be read.

    """
    per_page, page = _per_page(query), _number(query, "page", default=1)
    skipped = (page - 1) * per_page
    return Page(
        found[skipped : skipped + per_page],
        {
            "total": len(found),
            "skipped": skipped,
            "perPage": per_page,
            "page": page,
            "pageCount": -(-len(found) // per_page),
        },
    )


def by_cursor(found: list[Row], query: Mapping[str, str]) -> Page[Row]:
    """Cut out the page after ``next`` or before ``previous``.

    Raises:
        RefusalError: 400, if a cursor or a number cannot be read.

    """
    per_page = _per_page(query)
    if "next" in query and "previous" in query:
        raise RefusalError(400, "must be one of next or previous")
    if "previous" in query:
        last = _open_cursor(query["previous"])
        rows = [row for row in found if row.id > last][-per_page:]
    else:
        first = _open_cursor(query["next"]) if "next" in query else None
        rows = [row for row in found if first is None or row.id < first][:per_page]
    more_after = bool(rows) and rows[-1] is not found[-1]
    more_before = bool(rows) and rows[0] is not found[0]
    return Page(
        rows,
        {
            "next": _cursor(rows[-1].id) if more_after else None,
            "previous": _cursor(rows[0].id) if more_before else None,
            "perPage": per_page,
        },
    )


def wants_cursor(query: Mapping[str, str]) -> bool:
    """Tell which of the two kinds of pages a call asks for; those lists that know both go by this flag."""
    return query.get("use_cursor") == "true"


def within(query: Mapping[str, str]) -> list[Test[Listed]]:
    """Return the tests for ``from`` and ``to``.

    Raises:
        RefusalError: 400, if a date cannot be read.

    """
    tests: list[Test[Listed]] = []
    if since := query.get("from"):
        since_ms = _instant("from", since)
        tests.append(lambda row: row.created_at >= since_ms)
    if until := query.get("to"):
        # A bare date means the whole of that day.
        until_ms = _instant("to", until) + (_DAY_MS - 1 if len(until) == _DATE_LENGTH else 0)
        tests.append(lambda row: row.created_at <= until_ms)
    return tests


def _per_page(query: Mapping[str, str]) -> int:
    return min(_number(query, "perPage", "per_page", default=_PER_PAGE), _PER_PAGE_MAX)


def _cursor(row_id: int) -> str:
    # Paystack's cursors really read so when opened.
    return base64.b64encode(f"undefined:{row_id}".encode()).decode()


def _open_cursor(text: str) -> int:
    try:
        return int(base64.b64decode(text, validate=True).decode().rpartition(":")[2][:20])
    except (ValueError, binascii.Error) as error:
        raise RefusalError(400, "Invalid cursor") from error


def _number(query: Mapping[str, str], *names: str, default: int) -> int:
    for name in names:
        if value := query.get(name):
            if not (value.isascii() and value.isdigit()) or not int(value[:18]):
                raise RefusalError(400, f'"{name}" must be a positive number')
            return int(value[:18])
    return default


def _instant(name: str, text: str) -> int:
    try:
        return parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise RefusalError(400, f'"{name}" must be a valid ISO 8601 date') from error
