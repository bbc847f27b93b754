"""The list of transactions: filters, pages by number, pages by cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.answers import RefusalError
from sandbox.book import Book, Transaction
from sandbox.clock import parse_iso
from sandbox.wire import JsonObject

_PER_PAGE = 50
_PER_PAGE_MAX = 100
_DAY_MS = 86_400_000
_DATE_LENGTH = len("2024-08-22")
Test = Callable[[Transaction], bool]


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, newest first, and the meta that goes with them."""

    rows: list[Transaction]
    meta: JsonObject


def page_of(book: Book, query: Mapping[str, str]) -> Page:
    """Pick the transactions a list call asks for.

    Raises:
        RefusalError: 400, if a date or a number cannot be read.

    """
    tests = _tests(query)
    found = [row for row in reversed(book.transactions.values()) if all(test(row) for test in tests)]
    per_page = min(_number(query, "perPage", "per_page", default=_PER_PAGE), _PER_PAGE_MAX)
    if query.get("use_cursor") == "true":
        return _by_cursor(found, query, per_page)
    page = _number(query, "page", default=1)
    skipped = (page - 1) * per_page
    return Page(
        found[skipped : skipped + per_page],
        {
            "total": len(found),
            "total_volume": sum(row.amount for row in found),
            "skipped": skipped,
            "perPage": per_page,
            "page": page,
            "pageCount": -(-len(found) // per_page),
        },
    )


def totals_of(book: Book, query: Mapping[str, str]) -> JsonObject:
    """Add up the successful transactions in a span of time; nothing is ever pending for payout here."""
    tests = _tests({key: query[key] for key in ("from", "to") if key in query})
    volumes: dict[str, int] = {}
    count = 0
    for row in book.transactions.values():
        if row.status == "success" and all(test(row) for test in tests):
            count += 1
            volumes[row.currency] = volumes.get(row.currency, 0) + row.amount
    return {
        "total_transactions": count,
        "total_volume": sum(volumes.values()),
        "total_volume_by_currency": [{"currency": currency, "amount": amount} for currency, amount in volumes.items()],
        "pending_transfers": 0,
        "pending_transfers_by_currency": [],
    }


def _by_cursor(found: list[Transaction], query: Mapping[str, str], per_page: int) -> Page:
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


def _tests(query: Mapping[str, str]) -> list[Test]:
    tests: list[Test] = []
    if status := query.get("status"):
        tests.append(lambda row: row.status == status)
    if channel := query.get("channel"):
        tests.append(lambda row: row.channel == channel)
    if customer := query.get("customer"):
        # Only the numeric id finds anything; a customer code gives an empty list, as at Paystack.
        tests.append(lambda row: str(row.customer_id) == customer)
    if amount := query.get("amount"):
        tests.append(lambda row: str(row.amount) == amount)
    if since := query.get("from"):
        since_ms = _instant("from", since)
        tests.append(lambda row: row.created_at >= since_ms)
    if until := query.get("to"):
        # A bare date means the whole of that day.
        until_ms = _instant("to", until) + (_DAY_MS - 1 if len(until) == _DATE_LENGTH else 0)
        tests.append(lambda row: row.created_at <= until_ms)
    return tests


def _instant(name: str, text: str) -> int:
    try:
        return parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise RefusalError(400, f'"{name}" must be a valid ISO 8601 date') from error
