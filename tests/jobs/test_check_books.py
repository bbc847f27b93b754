"""The look through the books: sound books pass, and each way to break them is found by the check that is for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from db import books as tables
from db.connection import Database
from domain.books import AT_PAYSTACK, Check, Report, Window
from domain.errors import ReadOnlyError
from domain.ids import Prefix, show
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundNews, RefundStatus
from jobs.books import check_books
from jobs.refund_news import LearnedOfRefund, apply_refund_news
from tests.refunding import ask_refund, pass_time, pay, refund_now
from tests.stories import accept, event_body, payment_now, rows, store_webhook, transaction_data

WINDOW = Window(since=timedelta(days=7), quiet=timedelta(minutes=15))
LATER = 16 * 60.0


def look(database: Database, window: Window = WINDOW) -> Report:
    report = Report()
    check_books(database, window, report)
    return report


def found(report: Report) -> dict[str, list[str]]:
    return {check: list(subjects) for check, subjects in report.findings.items() if subjects}


@dataclass(frozen=True)
class Books:
    """Sound books: a payment that waits, one that failed, and paid ones with refunds of every kind."""

    database: Database
    waiting: Payment
    paid: Payment
    refunded: Payment
    refund: Refund
    refunding: Payment
    under_way: Refund

    def run(self, sql: LiteralString, *parameters: object) -> None:
        rows(self.database, sql, *parameters)


def tell(database: Database, refund: Refund, status: RefundStatus, number: int) -> Refund:
    news = RefundNews(status=status, gateway_refund_id=number)
    with database.transaction() as tx:
        apply_refund_news(tx, [LearnedOfRefund(refund.payment_id, refund.id, news, "req_refund")])
        tx.execute("DELETE FROM jobs WHERE dedupe_key = %s", [f"send_refund:{refund.id}"])
    return refund_now(database, refund.id)


@pytest.fixture
def books(database: Database) -> Books:
    waiting = accept(database)
    paid = pay(database, transaction_id=7001)
    refunded = pay(database, transaction_id=7002)
    refund = tell(database, ask_refund(database, refunded, 20_000), RefundStatus.SUCCESS, 9001)
    failed = ask_refund(database, refunded, 10_000)
    tell(database, tell(database, failed, RefundStatus.SUCCESS, 9002), RefundStatus.FAILED, 9002)
    refunding = pay(database, transaction_id=7003)
    under_way = tell(database, ask_refund(database, refunding), RefundStatus.PROCESSING, 9003)
    rows(database, "DELETE FROM jobs WHERE id = ANY(%s)", [paid.id, refunded.id, refunding.id])
    rows(database, "UPDATE events SET published_at = payfleet_now()")
    return Books(
        database,
        waiting,
        paid,
        payment_now(database, refunded.id),
        refund,
        refunding,
        refund_now(database, under_way.id),
    )


def test_sound_books_pass(books: Books) -> None:
    assert books.refunded.status is PaymentStatus.PARTIALLY_REFUNDED
    report = look(books.database)
    assert found(report) == {}
    assert set(report.findings) == set(Check) - AT_PAYSTACK, "and everything was looked for"
    assert report.looked_at == {"payments": 4, "events": 9}


Breakage = Callable[[Books], Any]


def break_with(sql: LiteralString, *names: str) -> Breakage:
    """Run a statement with ids of the books as its parameters."""
    return lambda books: books.run(sql, *(getattr(books, name).id for name in names))


def fall_silent(books: Books, seconds: float = LATER) -> None:
    """Let the quiet time pass, with a relay that keeps up."""
    pass_time(books.database, seconds)
    books.run("UPDATE jobs SET run_at = greatest(run_at, payfleet_now())")


def lose_the_look(books: Books) -> None:
    books.run("DELETE FROM jobs WHERE id = %s", books.waiting.id)
    books.run("UPDATE live_orders SET look_at = NULL WHERE payment_id = %s", books.waiting.id)
    fall_silent(books)


def let_the_look_pass(books: Books) -> None:
    books.run("DELETE FROM jobs WHERE id = %s", books.waiting.id)
    fall_silent(books, 3600 + LATER)


def leave_a_call_unknown(books: Books) -> None:
    books.run(
        "INSERT INTO payment_attempts (job_id, token, payment_id, kind, reference, sent_at)"
        " SELECT id, 1, id, 'initialize_payment', 'pf-1', payfleet_now() FROM payments WHERE id = %s",
        books.paid.id,
    )
    fall_silent(books)


def leave_a_webhook_unread(books: Books) -> None:
    store_webhook(books.database, event_body("charge.success", transaction_data(books.paid)))
    books.run("DELETE FROM jobs WHERE kind = 'apply_webhook'")
    fall_silent(books)


def leave_an_event_unpublished(books: Books) -> None:
    books.run("UPDATE events SET published_at = NULL WHERE type = 'refund.failed'")
    fall_silent(books)


def lose_the_job_of_a_refund(books: Books) -> None:
    books.run("DELETE FROM jobs WHERE kind = 'check_refund'")
    fall_silent(books)


# What is done, which checks find it, and of what: where that is no field of the books, how many.
BREAKAGES: dict[str, tuple[Breakage, dict[Check, str | int]]] = {
    "a payment that nobody will ask about": (lose_the_look, {Check.PAYMENT_STUCK: "waiting"}),
    "a payment whose look is overdue": (let_the_look_pass, {Check.PAYMENT_STUCK: "waiting"}),
    "a success without its line": (
        break_with(
            "UPDATE payment_history SET fact = 'payment.flagged' WHERE payment_id = %s AND fact = 'payment.succeeded'",
            "paid",
        ),
        {Check.PAYMENT_PAID_ONCE: "paid", Check.EVENT_MISSING: "paid"},
    ),
    "two lines of success": (
        break_with(
            "WITH line AS (INSERT INTO payment_history SELECT payment_id, 3, fact, status, source, details, 'req',"
            " created_at + interval '1 s' FROM payment_history WHERE payment_id = %s AND version = 2 RETURNING *),"
            " event AS (INSERT INTO events (id, type, subject, data, correlation_id, created_at, published_at)"
            " SELECT payfleet_uuid7(created_at), fact, payment_id, '{}', 'req', created_at, created_at FROM line)"
            " UPDATE payments SET version = 3 WHERE id = %s",
            "paid",
            "paid",
        ),
        {Check.PAYMENT_PAID_ONCE: "paid"},
    ),
    "a success of a payment that was not paid": (
        break_with(
            "UPDATE payments SET status = 'PENDING', gateway_transaction_id = NULL, paid_at = NULL WHERE id = %s",
            "paid",
        ),
        {Check.PAYMENT_PAID_ONCE: "paid", Check.HISTORY_BEHIND: "paid", Check.TRANSACTION_OF_LINE: "paid"},
    ),
    "too little money": (
        break_with("UPDATE payments SET amount = 50001 WHERE id = %s", "paid"),
        {Check.PAYMENT_MONEY: "paid"},
    ),
    "money received below what was asked": (
        break_with(
            """UPDATE payments SET gateway_response = gateway_response || '{"amount": "49999"}' WHERE id = %s""", "paid"
        ),
        {Check.PAYMENT_MONEY: "paid"},
    ),
    "money of another currency": (
        break_with("UPDATE payments SET currency = 'USD' WHERE id = %s", "paid"),
        {Check.PAYMENT_MONEY: "paid"},
    ),
    "a paid payment of which Paystack reported nothing": (
        break_with("UPDATE payments SET gateway_response = NULL WHERE id = %s", "paid"),
        {Check.PAYMENT_MONEY: "paid"},
    ),
    "another transaction than was reported": (
        break_with("UPDATE payments SET gateway_transaction_id = 7009 WHERE id = %s", "paid"),
        {Check.TRANSACTION_OF_LINE: "paid"},
    ),
    "a transaction that pays two payments": (
        break_with(
            "WITH line AS (UPDATE payment_history SET details = details || '{\"transactionId\": 7002}'"
            " WHERE payment_id = %s AND fact = 'payment.succeeded')"
            " UPDATE payments SET gateway_transaction_id = 7002 WHERE id = %s",
            "paid",
            "paid",
        ),
        {Check.TRANSACTION_SHARED: 2},
    ),
    "a line that was taken out": (
        break_with("DELETE FROM payment_history WHERE payment_id = %s AND version = 1", "paid"),
        {Check.HISTORY_GAP: "paid", Check.HISTORY_STEP: "paid"},
    ),
    "a version without a line": (
        break_with("UPDATE payments SET version = 3 WHERE id = %s", "paid"),
        {Check.HISTORY_GAP: "paid"},
    ),
    "a payment without a history": (
        break_with("DELETE FROM payment_history WHERE payment_id = %s", "waiting"),
        {Check.HISTORY_GAP: "waiting"},
    ),
    "a step back": (
        break_with(
            "WITH line AS (INSERT INTO payment_history (payment_id, version, fact, status, source, correlation_id,"
            " created_at) VALUES (%s, 3, 'payment.processing', 'PROCESSING', 'client', 'req', payfleet_now()))"
            " UPDATE payments SET version = 3, status = 'PROCESSING' WHERE id = %s",
            "paid",
            "paid",
        ),
        {Check.HISTORY_STEP: "paid", Check.PAYMENT_PAID_ONCE: "paid"},
    ),
    "a status that was not written down": (
        break_with("UPDATE payments SET status = 'FAILED' WHERE id = %s", "waiting"),
        {Check.HISTORY_BEHIND: "waiting", Check.ORDER_BLOCKED: "waiting"},
    ),
    "an event that was lost": (
        break_with("DELETE FROM events WHERE subject = %s", "paid"),
        {Check.EVENT_MISSING: "paid"},
    ),
    "an event told twice": (
        break_with(
            "INSERT INTO events (id, type, subject, data, correlation_id, created_at, published_at)"
            " SELECT payfleet_uuid7(created_at), type, subject, data, 'req', created_at, created_at"
            " FROM events WHERE subject = %s",
            "paid",
        ),
        {Check.EVENT_MISSING: "paid"},
    ),
    "an event of another type": (
        break_with("UPDATE events SET type = 'payment.failed' WHERE subject = %s", "paid"),
        {Check.EVENT_MISSING: "paid"},
    ),
    "an event of a fact that nobody wrote down": (
        break_with(
            "INSERT INTO events (id, type, subject, data, correlation_id, created_at, published_at)"
            " SELECT payfleet_uuid7(at), 'payment.succeeded', %s, '{}', 'req', at, at"
            " FROM (SELECT payfleet_now() AS at) AS clock",
            "waiting",
        ),
        {Check.EVENT_UNFOUNDED: 1},
    ),
    "an event of a payment that is gone": (
        break_with("DELETE FROM payments WHERE id = %s", "paid"),
        {Check.EVENT_UNFOUNDED: 1},
    ),
    "an event that is not published": (leave_an_event_unpublished, {Check.EVENT_UNPUBLISHED: 1}),
    "a paid order that nobody holds": (
        break_with("DELETE FROM live_orders WHERE payment_id = %s", "paid"),
        {Check.ORDER_PAYER: "paid"},
    ),
    "a paid order that counts as unpaid": (
        break_with("UPDATE live_orders SET paid = false WHERE payment_id = %s", "paid"),
        {Check.ORDER_PAYER: "paid"},
    ),
    "an order paid by two": (
        break_with(
            "UPDATE payments SET order_id = (SELECT order_id FROM payments WHERE id = %s) WHERE id = %s",
            "refunding",
            "paid",
        ),
        {Check.ORDER_PAYER: "paid"},
    ),
    "more promised than its refunds say": (
        break_with("UPDATE payments SET refunds_reserved = 20001 WHERE id = %s", "refunded"),
        {Check.REFUND_SUMS: "refunded"},
    ),
    "money given back without a refund": (
        break_with(
            "UPDATE payments SET status = 'PARTIALLY_REFUNDED', refunds_reserved = 1, refunded = 1 WHERE id = %s",
            "paid",
        ),
        {Check.REFUND_SUMS: "paid", Check.HISTORY_BEHIND: "paid"},
    ),
    "a refund that was taken out": (
        break_with("DELETE FROM refunds WHERE id = %s", "refund"),
        {Check.REFUND_SUMS: "refunded", Check.REFUND_LINES: "refunded"},
    ),
    "a refund of another amount": (
        break_with("UPDATE refunds SET amount = 20001 WHERE id = %s", "refund"),
        {Check.REFUND_SUMS: "refunded"},
    ),
    "a refunded payment that stands as paid": (
        break_with(
            "WITH line AS (UPDATE payment_history SET status = 'SUCCESS' WHERE payment_id = %s AND version > 1)"
            " UPDATE payments SET status = 'SUCCESS' WHERE id = %s",
            "refunded",
            "refunded",
        ),
        {Check.REFUND_STATUS: "refunded"},
    ),
    "a refund promised of what was not paid": (
        break_with("UPDATE payments SET refunds_reserved = 1 WHERE id = %s", "waiting"),
        {Check.REFUND_STATUS: "waiting", Check.REFUND_SUMS: "waiting"},
    ),
    "a refund that failed and is not told as failed": (
        break_with("UPDATE refunds SET status = 'SUCCESS', processed_at = created_at WHERE gateway_refund_id = 9002"),
        {Check.REFUND_LINES: "refunded", Check.REFUND_SUMS: "refunded"},
    ),
    "a refund of another payment's money": (
        break_with("UPDATE refunds SET gateway_transaction_id = 7001 WHERE id = %s", "refund"),
        {Check.REFUND_SOURCE: "refund"},
    ),
    "a refund of money on top that nobody flagged": (
        break_with("UPDATE refunds SET is_surplus = true WHERE id = %s", "refund"),
        {Check.REFUND_SOURCE: "refund", Check.REFUND_SUMS: "refunded"},
    ),
    "a refund of another currency": (
        break_with("UPDATE refunds SET currency = 'USD' WHERE id = %s", "refund"),
        {Check.REFUND_SOURCE: "refund"},
    ),
    "a refund that nobody will ask about": (lose_the_job_of_a_refund, {Check.REFUND_STUCK: "under_way"}),
    "a finished refund that keeps others waiting": (
        break_with("UPDATE refunds SET is_unsettled = true WHERE id = %s", "refund"),
        {Check.REFUND_BLOCKING: "refund"},
    ),
    "a call without its outcome": (leave_a_call_unknown, {Check.ATTEMPT_UNKNOWN: "paid"}),
    "an event of Paystack's that nobody read": (leave_a_webhook_unread, {Check.WEBHOOK_UNREAD: 1}),
    "a dead job": (
        break_with("UPDATE jobs SET state = 'dead', last_error = 'a defect' WHERE id = %s", "waiting"),
        {Check.JOB_DEAD: 1},
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_broken_books_are_found_broken(books: Books, name: str) -> None:
    break_books, expected = BREAKAGES[name]
    break_books(books)
    report = look(books.database)
    held = {check: len(subjects) for check, subjects in report.findings.items() if subjects}
    assert held == {check: what if isinstance(what, int) else 1 for check, what in expected.items()}
    for check, what in expected.items():
        if isinstance(what, str):
            thing = getattr(books, what)
            prefix = Prefix.REFUND if isinstance(thing, Refund) else Prefix.PAYMENT
            assert list(report.findings[check]) == [show(prefix, thing.id)]
    assert all(detail for details in report.findings.values() for detail in details.values())


def test_every_check_of_our_own_books_has_a_breakage() -> None:
    assert {check for _, expected in BREAKAGES.values() for check in expected} | {
        Check.JOB_OVERDUE
    } | AT_PAYSTACK == set(Check)


def test_a_snapshot_sees_one_moment_and_writes_nothing(books: Books) -> None:
    with pytest.raises(ReadOnlyError), tables.snapshot(books.database) as tx:
        before = tables.get_span(tx, since=timedelta(days=1))
        books.run("UPDATE payments SET version = 9 WHERE id = %s", books.paid.id)
        (page,) = tx.execute("SELECT version FROM payments WHERE id = %s", [books.paid.id]).fetchall()
        assert page == (books.paid.version,)
        assert tables.get_span(tx, since=timedelta(days=1)) == before
        tx.execute("UPDATE payments SET version = 8")


def test_what_is_late_by_less_than_the_quiet_time_is_no_finding(books: Books) -> None:
    for break_books in (lose_the_look, leave_a_call_unknown, leave_a_webhook_unread, leave_an_event_unpublished):
        break_books(books)
        rows(books.database, "UPDATE test_clock SET clock_offset = interval '0'")
    assert found(look(books.database)) == {}


@pytest.mark.parametrize(
    ("columns", "overdue"),
    [
        ("state = 'ready', run_at = payfleet_now() - interval '16 minutes'", True),
        ("state = 'ready', run_at = payfleet_now() - interval '14 minutes'", False),
        ("state = 'sent', sent_at = payfleet_now() - interval '16 minutes'", True),
        ("state = 'sent', sent_at = payfleet_now() - interval '14 minutes'", False),
        ("state = 'sent', sent_at = payfleet_now() - interval '16 minutes', lease_until = payfleet_now()", False),
    ],
)
def test_a_job_is_overdue_when_nobody_takes_it_up(books: Books, columns: LiteralString, overdue: bool) -> None:
    books.run(f"UPDATE jobs SET {columns} WHERE id = %s", books.waiting.id)  # noqa: S608 - the table above
    assert found(look(books.database)) == ({Check.JOB_OVERDUE: [show(Prefix.JOB, books.waiting.id)]} if overdue else {})


@pytest.mark.parametrize("job", ["the one that opens it", "a look"])
def test_a_payment_with_a_live_job_is_not_stuck_whatever_became_of_its_order(books: Books, job: str) -> None:
    if job == "a look":
        books.run(
            "UPDATE jobs SET id = payfleet_uuid7(payfleet_now()), dedupe_key = %s WHERE id = %s",
            f"verify_payment:{books.waiting.id}",
            books.waiting.id,
        )
    books.run("DELETE FROM live_orders WHERE payment_id = %s", books.waiting.id)
    fall_silent(books)
    assert found(look(books.database)) == {}
    books.run("UPDATE jobs SET state = 'dead'")
    assert Check.PAYMENT_STUCK in found(look(books.database))


def test_a_second_payment_of_an_order_is_sound_once_it_was_told_as_such(books: Books) -> None:
    books.run("DELETE FROM live_orders WHERE payment_id = %s", books.paid.id)
    books.run(
        "WITH line AS (UPDATE payment_history SET fact = 'payment.duplicate' WHERE payment_id = %s AND version = 2)"
        " UPDATE events SET type = 'payment.duplicate' WHERE subject = %s",
        books.paid.id,
        books.paid.id,
    )
    assert found(look(books.database)) == {}


def test_books_of_many_pages_are_looked_through_to_their_end(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.books.PAGE", 1)
    assert look(books.database).looked_at == {"payments": 4, "events": 9}
    for name in ("a transaction that pays two payments", "a refund of another payment's money"):
        BREAKAGES[name][0](books)
    books.run("DELETE FROM payments WHERE id = %s", books.waiting.id)
    books.run("UPDATE events SET subject = %s WHERE type = 'refund.failed'", books.waiting.id)
    checks = {Check.TRANSACTION_SHARED, Check.REFUND_SOURCE, Check.EVENT_UNFOUNDED, Check.EVENT_MISSING}
    assert set(found(look(books.database))) == checks


def test_a_payment_from_before_the_window_is_looked_at_when_it_changed_in_it(books: Books) -> None:
    pass_time(books.database, 10 * 86_400)
    books.run("UPDATE jobs SET run_at = payfleet_now()")
    books.run("UPDATE payments SET refunds_reserved = 50000 WHERE id = %s", books.refunded.id)
    assert found(look(books.database)) == {}, "it is older than the window"
    refund = ask_refund(books.database, books.paid, 100)
    books.run("UPDATE refunds SET amount = 101 WHERE id = %s", refund.id)
    report = look(books.database)
    assert found(report) == {Check.REFUND_SUMS: [show(Prefix.PAYMENT, books.paid.id)]}
    assert report.looked_at == {"payments": 0, "events": 1}


def test_a_report_of_hopeless_books_stays_small(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.books.FINDINGS_MAX", 2)
    books.run("DELETE FROM events")
    assert [len(subjects) for subjects in look(books.database).findings.values() if subjects] == [2]


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("UPDATE payments SET gateway_transaction_id = NULL WHERE status = 'SUCCESS'", "payments_paid_has_transaction"),
        ("UPDATE payments SET refunds_reserved = amount + 1", "payments_refunds_within_amount"),
        ("UPDATE payments SET refunded = refunds_reserved + 1", "payments_refunds_within_amount"),
        ("UPDATE refunds SET gateway_refund_id = 9001", "refunds_gateway_idx"),
        ("UPDATE refunds SET gateway_transaction_id = 7002, is_unsettled = true", "refunds_one_unsettled_idx"),
        ("UPDATE payment_history SET version = 1", "_pkey"),
        ("UPDATE live_orders SET order_id = 'one'", "live_orders_pkey"),
    ],
)
def test_what_the_schema_refuses_needs_no_check(books: Books, sql: LiteralString, constraint: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        books.run(sql)
    assert str(refused.value.diag.constraint_name).endswith(constraint)
