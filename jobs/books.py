"""Looking through Payfleet's own books for what must not be (`docs/books.md`), page by page; nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from db import books
from domain.books import FINDINGS_MAX, Check, Finding, Report
from domain.ids import Prefix, show
from domain.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from db.books import Span
    from db.connection import Connection, Database
    from domain.books import Window

PAGE = 2_000


def check_books(database: Database, window: Window) -> Report:
    """Look at what waits for somebody, at the payments made in the window, and at those that changed in it.

    Raises:
        UnavailableError: Postgres is not there, or a page took it too long.

    """
    report = Report()
    with books.snapshot(database) as tx:
        span = books.get_span(tx, since=window.since)
        for invariant in books.OF_WHAT_WAITS:
            report.add(invariant.check, books.get_violations(tx, invariant, quiet=window.quiet))
    transactions = _check_payments(database, window, span, report)
    _check_events(database, window, span, report)
    report.begin([Check.TRANSACTION_SHARED])
    _find_holders(database, span, list(transactions.repeated())[:FINDINGS_MAX], report)
    return report


def _check_payments(database: Database, window: Window, span: Span, report: Report) -> Numbers:
    """Look at the payments made within a span; returns the transactions that they hold."""
    transactions = Numbers()
    rest: Span | None = span
    while rest is not None:
        with books.snapshot(database) as tx:
            ids = books.get_payments_page(tx, rest, limit=PAGE)
            _check_page(tx, window, ids, report)
            transactions.update(books.get_transactions(tx, ids))
        report.count("payments", len(ids))
        rest = _after(rest, ids)
    return transactions


def _check_page(tx: Connection, window: Window, ids: Sequence[UUID], report: Report) -> None:
    for invariant in books.OF_PAYMENTS:
        report.add(invariant.check, books.get_violations(tx, invariant, quiet=window.quiet, ids=ids))


def _check_events(database: Database, window: Window, span: Span, report: Report) -> None:
    """Look at the events within a span, and through them at the older payments that changed in it."""
    rest: Span | None = span
    while rest is not None:
        with books.snapshot(database) as tx:
            page = books.get_events_page(tx, rest, limit=PAGE)
            ids, subjects = list(page), sorted(set(page.values()))
            for invariant in books.OF_EVENTS:
                found = books.get_violations(tx, invariant, quiet=window.quiet, ids=ids, subjects=subjects)
                report.add(invariant.check, found)
            older = [subject for subject in subjects if subject < span.after]
            _check_page(tx, window, older, report)
        report.count("events", len(ids))
        rest = _after(rest, ids)


def _find_holders(database: Database, span: Span, transactions: Sequence[int], report: Report) -> None:
    """Name the payments that hold transactions which were met twice: a second walk, and hardly ever made."""
    rest: Span | None = span if transactions else None
    while rest is not None:
        with books.snapshot(database) as tx:
            ids = books.get_payments_page(tx, rest, limit=PAGE)
            holders = books.get_holders(tx, ids, transactions=transactions)
        report.add(Check.TRANSACTION_SHARED, _shared(holders))
        rest = _after(rest, ids)


def _shared(holders: Iterable[tuple[UUID, int]]) -> list[Finding]:
    return [
        Finding(show(Prefix.PAYMENT, payment_id), f"another payment holds transaction {transaction} too")
        for payment_id, transaction in holders
    ]


def _after(span: Span, page: Sequence[UUID]) -> Span | None:
    """Say what is left of a span after a page of it; None when the page was the last one."""
    return replace(span, after=page[-1]) if len(page) == PAGE else None
