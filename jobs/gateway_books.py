"""Holding our books against Paystack's own: its lists of transactions and refunds, and what we say was paid.

Both ways are gone page by page, and of what was seen only Paystack's numbers are kept. Things change meanwhile, and
lists lag: every difference is looked at once more by itself, there and here, before it is told. Nothing is changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from db import books, payments, refunds
from db.clock import get_now
from domain.books import AT_PAYSTACK, Check, Finding
from domain.differences import Difference, difference_of_payment, difference_of_refund
from domain.ids import MalformedIdError, Prefix, parse, pattern_of, payment_of, show
from domain.numbers import Numbers
from jobs.paystack.reading import read, read_pages
from jobs.paystack.refunds import news_of
from jobs.paystack.wire import PAID, charged_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from db.books import Span
    from db.connection import Database
    from domain.books import Report, Window
    from domain.payment import Payment
    from domain.refund import Refund
    from jobs.paystack.client import Paystack
    from jobs.paystack.refunds import FoundRefund
    from jobs.paystack.wire import Transaction

_PAGE = 2_000
_CLOCKS_APART = timedelta(hours=1)  # how far Paystack's clock may be from ours
_SHOWN_REFUND = re.compile(pattern_of(Prefix.REFUND).strip("^$"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BothBooks:
    """Ours and Paystack's, what is looked through of them, and what was found; `pause` waits for some seconds."""

    database: Database
    paystack: Paystack
    pause: Callable[[float], object]
    report: Report
    quiet: timedelta
    span: Span
    since: datetime
    until: datetime

    def tell(self, subject: str, difference: Difference) -> None:
        """Report a difference that has been looked at twice."""
        self.report.add(difference.check, [Finding(subject, difference.detail)])


def compare_with_paystack(
    database: Database, paystack: Paystack, window: Window, report: Report, *, pause: Callable[[float], object]
) -> None:
    """Hold what was made in the window against Paystack's lists, and its lists against what is here.

    Raises:
        UnavailableError: Postgres or Paystack is not there.

    """
    for check in sorted(AT_PAYSTACK):
        report.add(check, [])
    for what in ("gateway_transactions", "foreign_transactions", "gateway_refunds", "foreign_refunds"):
        report.count(what, 0)
    with books.snapshot(database) as tx:
        span, now = books.get_span(tx, since=window.since), get_now(tx)
    both = BothBooks(
        database=database,
        paystack=paystack,
        pause=pause,
        report=report,
        quiet=window.quiet,
        span=span,
        since=now - window.since - _CLOCKS_APART,
        until=now + _CLOCKS_APART,
    )
    _compare_payments(both, _compare_transactions(both))
    _compare_finished_refunds(both, _compare_listed_refunds(both))


def _compare_transactions(both: BothBooks) -> Numbers:
    """Hold each transaction that Paystack lists as paid against our payment; returns the numbers of those of ours."""
    seen = Numbers()
    list_page = partial(both.paystack.list_transactions, since=both.since, until=both.until)
    for page in read_pages(lambda number: list_page(page=number), both.pause):
        ours = [(payment_id, row) for row in page if (payment_id := _payment_named(row.reference)) is not None]
        with both.database.connection() as connection:
            found = payments.get_payments(connection, {payment_id for payment_id, _ in ours})
        for payment_id, row in ours:
            if row.transaction is not None and row.transaction.status in PAID:
                seen.update([row.transaction.id])
            if row.transaction is None or _difference(found.get(payment_id), row.transaction) is not None:
                _look_again(both, payment_id, str(row.reference), row.transaction)
        both.report.count("gateway_transactions", len(page))
        both.report.count("foreign_transactions", len(page) - len(ours))
    return seen


def _payment_named(reference: str | None) -> UUID | None:
    """Find the payment that a reference of ours names; None for a foreign one."""
    try:
        return payment_of(reference or "")[0]
    except MalformedIdError:
        return None


def _difference(payment: Payment | None, transaction: Transaction) -> Difference | None:
    return difference_of_payment(payment, charged_fact(transaction, {})) if transaction.status in PAID else None


def _look_again(both: BothBooks, payment_id: UUID, reference: str, listed: Transaction | None) -> None:
    """Tell a difference if it is still there; not yet where the money has just come, and its news is on the way."""
    verified = read(lambda: both.paystack.verify(reference), both.pause)
    transaction = listed if verified is None else verified.transaction
    if transaction is None:
        return
    with both.database.connection() as connection:
        difference = _difference(payments.get_payment(connection, payment_id), transaction)
        settled = get_now(connection) - both.quiet
    if difference is not None and (transaction.paid_at is None or transaction.paid_at < settled):
        both.tell(show(Prefix.PAYMENT, payment_id), difference)


def _compare_payments(both: BothBooks, seen: Numbers) -> None:
    """Look at Paystack for each payment that is paid here and was not among what it listed."""
    rest: Span | None = both.span
    while rest is not None:
        with books.snapshot(both.database) as tx:
            ids = books.get_payments_page(tx, rest, limit=_PAGE)
            held = books.get_transactions(tx, ids)
        for payment_id, number in held.items():
            if number not in seen and not both.report.is_full(Check.GATEWAY_MISSING):
                _look_for_transaction(both, payment_id, number)
        rest = rest.rest(ids, limit=_PAGE)


def _look_for_transaction(both: BothBooks, payment_id: UUID, number: int) -> None:
    found = read(lambda: both.paystack.fetch_transaction(number), both.pause)
    with both.database.connection() as connection:
        payment = payments.get_payment(connection, payment_id)
    if found is None:
        difference = Difference(Check.GATEWAY_MISSING, f"Paystack knows no transaction {number}")
    elif found.transaction.status not in PAID or _payment_named(found.transaction.reference) != payment_id:
        transaction = found.transaction
        detail = f"Paystack has transaction {number} as {transaction.status} under {transaction.reference}"
        difference = Difference(Check.GATEWAY_MISSING, detail)
    else:
        difference = _difference(payment, found.transaction)
    if difference is not None:
        both.tell(show(Prefix.PAYMENT, payment_id), difference)


def _compare_listed_refunds(both: BothBooks) -> Numbers:
    """Hold each refund that Paystack lists against ours; returns Paystack's numbers for all of them."""
    seen = Numbers()
    lost: dict[UUID, int] = {}
    list_page = partial(both.paystack.list_refunds_made, since=both.since, until=both.until)
    for page in read_pages(lambda number: list_page(page=number), both.pause):
        seen.update(row.refund.id for row in page)
        ours = _refunds_meant(both, page)
        for row in page:
            refund = ours.get(row.refund.id)
            if refund is None and not _is_of_ours(both, row):
                both.report.count("foreign_refunds", 1)
            elif _difference_of_listed(row, refund, lost) is not None:
                _look_at_refund_again(both, row, lost)
        both.report.count("gateway_refunds", len(page))
    return seen


def _refunds_meant(both: BothBooks, page: Sequence[FoundRefund]) -> dict[int, Refund]:
    """Find our refund for each of Paystack's, by its number; else by the note, where our answer may have been lost."""
    with both.database.connection() as connection:
        by_number = refunds.get_refunds_at_gateway(connection, [row.refund.id for row in page])
        named = {row.refund.id: refund_id for row in page if (refund_id := _refund_named(row)) is not None}
        by_id = refunds.get_refunds(connection, set(named.values()))
    return {number: by_id[refund_id] for number, refund_id in named.items() if refund_id in by_id} | by_number


def _refund_named(row: FoundRefund) -> UUID | None:
    shown = _SHOWN_REFUND.search(row.refund.merchant_note or "")
    return None if shown is None else parse(Prefix.REFUND, shown[0])


def _is_of_ours(both: BothBooks, row: FoundRefund) -> bool:
    """Whether a refund gives back a transaction of ours; not every row says so."""
    reference = row.refund.transaction_reference
    if reference is None:
        found = read(lambda: both.paystack.fetch_transaction(row.refund.transaction), both.pause)
        reference = None if found is None else found.transaction.reference
    return _payment_named(reference) is not None


def _difference_of_listed(row: FoundRefund, refund: Refund | None, lost: dict[UUID, int]) -> Difference | None:
    """Hold one of Paystack's refunds against ours; `lost` are those whose answer was lost, with the first found."""
    number, there = row.refund.id, f"{row.refund.amount} {row.refund.currency} of transaction {row.refund.transaction}"
    if refund is None:
        return Difference(Check.GATEWAY_REFUND_UNKNOWN, f"{there}, {row.refund.status}, is no refund of ours")
    known = refund.gateway_refund_id or lost.setdefault(refund.id, number)
    if known != number:
        shown = show(Prefix.REFUND, refund.id)
        return Difference(Check.GATEWAY_REFUND_UNKNOWN, f"{there} for {shown}, which Paystack has under {known} too")
    return difference_of_refund(refund, news_of(row))


def _look_at_refund_again(both: BothBooks, listed: FoundRefund, lost: dict[UUID, int]) -> None:
    row = read(lambda: both.paystack.fetch_refund(listed.refund.id), both.pause) or listed
    refund = _refunds_meant(both, [row]).get(row.refund.id)
    difference = _difference_of_listed(row, refund, lost)
    if difference is None:
        return
    if refund is None or difference.check is Check.GATEWAY_REFUND_UNKNOWN:
        both.tell(f"refund {row.refund.id}", difference)
    else:
        both.tell(show(Prefix.REFUND, refund.id), difference)


def _compare_finished_refunds(both: BothBooks, seen: Numbers) -> None:
    """Look at Paystack for each refund that succeeded here and was not among what it listed."""
    rest: Span | None = both.span
    while rest is not None:
        with books.snapshot(both.database) as tx:
            page = books.get_refunds_page(tx, rest, limit=_PAGE)
        for refund_id, number in page.items():
            is_full = both.report.is_full(Check.GATEWAY_REFUND_MISSING)
            if number is not None and number not in seen and not is_full:
                _look_for_refund(both, refund_id, number)
        rest = rest.rest(list(page), limit=_PAGE)


def _look_for_refund(both: BothBooks, refund_id: UUID, number: int) -> None:
    found = read(lambda: both.paystack.fetch_refund(number), both.pause)
    with both.database.connection() as connection:
        refund = refunds.get_refund(connection, refund_id)
    if found is None:
        difference = Difference(Check.GATEWAY_REFUND_MISSING, f"Paystack knows no refund {number}")
    else:
        difference = None if refund is None else difference_of_refund(refund, news_of(found))
    if difference is not None:
        both.tell(show(Prefix.REFUND, refund_id), difference)
