"""The list of transactions and its totals: what each filter finds."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.book import Book, Transaction
from sandbox.paging import Page, Test, by_cursor, by_number, matching, wants_cursor, within
from sandbox.wire import JsonObject

# What no transaction of the sandbox belongs to: asked for, they find nothing.
_ABSENT = ("settlement", "subaccount_code", "split_code", "terminal_id", "virtual_account_number")
_SOURCE = "merchantApi"


def page_of(book: Book, query: Mapping[str, str]) -> Page[Transaction]:
    """Pick the transactions a list call asks for.

    Raises:
        RefusalError: 400, if a date, a number or a cursor cannot be read.

    """
    found = matching(reversed(book.transactions.values()), _tests(book, query))
    if wants_cursor(query):
        return by_cursor(found, query)
    page = by_number(found, query)
    # Of all lists only this one adds up what it found.
    return Page(page.rows, page.meta | {"total_volume": sum(row.amount for row in found)})


def totals_of(book: Book, query: Mapping[str, str]) -> JsonObject:
    """Add up the successful transactions in a span of time; nothing is ever pending for payout here."""
    volumes: dict[str, int] = {}
    count = 0
    for row in matching(book.transactions.values(), [*within(query)]):
        if row.status == "success":
            count += 1
            volumes[row.currency] = volumes.get(row.currency, 0) + row.amount
    return {
        "total_transactions": count,
        "total_volume": sum(volumes.values()),
        "total_volume_by_currency": [{"currency": currency, "amount": amount} for currency, amount in volumes.items()],
        "pending_transfers": 0,
        "pending_transfers_by_currency": [],
    }


def _tests(book: Book, query: Mapping[str, str]) -> list[Test[Transaction]]:
    tests: list[Test[Transaction]] = [*within(query)]
    if status := query.get("status"):
        tests.append(lambda row: row.status == status)
    if channel := query.get("channel"):
        tests.append(lambda row: row.channel == channel)
    if customer := query.get("customer"):
        # Only the numeric id finds anything; a customer code gives an empty list, as at Paystack.
        tests.append(lambda row: str(row.customer_id) == customer)
    if code := query.get("customer_code"):
        tests.append(lambda row: book.customers[row.customer_id].code == code)
    if query.get("source", _SOURCE) != _SOURCE or any(query.get(name) for name in _ABSENT):
        tests.append(lambda _row: False)
    if amount := query.get("amount"):
        tests.append(lambda row: str(row.amount) == amount)
    return tests
