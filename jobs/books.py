"""Looking through Payfleet's own books for what must not be (`docs/books.md`), page by page; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import books
from domain.books import FINDINGS_MAX, Check, Finding
from domain.ids import Prefix, show
from domain.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from db.books import Invariant, Span
    from db.connection import Connection, Database
    from domain.books import Report, Window

PAGE = 2_000


def check_books(database: Database, window: Window, report: Report) -> None:
    """Look at what waits for somebody, at the payments made in the window, and at those that changed in it.

    Raises:
        UnavailableError: Postgres is not there, or a page took it too long.

    """
    with books.snapshot(database) as tx:
        span = books.get_span(tx, since=window.since)
        _look_for(tx, books.OF_WHAT_WAITS, window, [], report)
    transactions = _check_payments(database, window, span, report)
    _check_events(database, window, span, report)
    _find_shared(database, span, transactions, report)


def _check_payments(database: Database, window: Window, span: Span, report: Report) -> Numbers:
    """Look at the payments made within a span; returns the transactions that they hold."""
    transactions = Numbers()
    rest: Span | None = span
    while rest is not None:
        with books.snapshot(database) as tx:
            ids = books.get_payments_page(tx, rest, limit=PAGE)
            _look_for(tx, books.OF_PAYMENTS, window, ids, report)
            transactions.update(books.get_transactions(tx, ids).values())
        report.count("payments", len(ids))
        rest = rest.rest(ids, limit=PAGE)
    return transactions


def _check_events(database: Database, window: Window, span: Span, report: Report) -> None:
    """Look at the events within a span, and through them at the older payments that changed in it."""
    rest: Span | None = span
    while rest is not None:
        with books.snapshot(database) as tx:
            page = books.get_events_page(tx, rest, limit=PAGE)
            ids = list(page)
            _look_for(tx, books.OF_EVENTS, window, ids, report)
            older = sorted({subject for subject in page.values() if subject < span.after})
            _look_for(tx, books.OF_PAYMENTS, window, older, report)
        report.count("events", len(ids))
        rest = rest.rest(ids, limit=PAGE)


def _look_for(
    tx: Connection, invariants: Iterable[Invariant], window: Window, ids: Sequence[UUID], report: Report
) -> None:
    for invariant in invariants:
        report.add(invariant.check, books.get_violations(tx, invariant, quiet=window.quiet, ids=ids))


def _find_shared(database: Database, span: Span, transactions: Numbers, report: Report) -> None:
    """Name the payments that hold a transaction which was met twice: a second walk, and hardly ever made."""
    report.add(Check.TRANSACTION_SHARED, [])
    shared = set(list(transactions.repeated())[:FINDINGS_MAX])
    rest: Span | None = span if shared else None
    while rest is not None:
        with books.snapshot(database) as tx:
            ids = books.get_payments_page(tx, rest, limit=PAGE)
            held = books.get_transactions(tx, ids)
        found = [
            Finding(show(Prefix.PAYMENT, payment_id), f"another payment holds transaction {transaction} too")
            for payment_id, transaction in held.items()
            if transaction in shared
        ]
        report.add(Check.TRANSACTION_SHARED, found)
        rest = rest.rest(ids, limit=PAGE)
