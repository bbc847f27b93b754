"""Accepting a payment: everything or nothing, once for each key."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from db import currencies, idempotency
from db.connection import Database
from domain.ids import payment_of
from domain.money import Currency
from domain.payment import PaymentStatus
from tests.stories import accept, history_of, job_ids, milliseconds, payment_now, rows, try_to_accept

COUNTS = """
SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payment_history), (SELECT count(*) FROM jobs),
    (SELECT count(*) FROM idempotency_keys)
"""


def test_a_payment_comes_with_its_job_its_first_line_of_history_and_its_key(database: Database) -> None:
    payment = accept(database, key="key-1", metadata={"cart": [1, {"b": None}]}, channels=("card", "ussd"))
    assert rows(database, COUNTS) == [(1, 1, 1, 1)]
    assert payment_now(database, payment.id) == payment
    assert payment.status is PaymentStatus.PENDING
    assert history_of(database, payment.id) == [("payment.accepted", "PENDING")]
    assert rows(database, "SELECT payload, state::text, run_at <= payfleet_now() FROM jobs") == [
        ({"payment_id": str(payment.id)}, "ready", True)
    ]


def test_the_id_says_when_the_payment_was_made(database: Database) -> None:
    payment = accept(database)
    assert payment.id.version == 7
    assert payment.id.int >> 80 == milliseconds(payment.created_at)
    assert payment_of(payment.reference) == (payment.id, 1)


def test_without_a_key_each_request_makes_a_payment(database: Database) -> None:
    assert accept(database).id != accept(database).id
    assert rows(database, COUNTS) == [(2, 2, 2, 0)]


def test_twenty_requests_at_once_with_one_key_make_one_payment(database: Database) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: try_to_accept(database, key="same"), range(20)))
    made = [payment for payment in answers if payment is not None]
    assert len(made) == 1
    assert rows(database, COUNTS) == [(1, 1, 1, 1)]
    with database.connection() as connection:
        used = idempotency.get_idempotency_key(connection, caller="user-1", key="same")
    assert used is not None
    assert used.payment_id == made[0].id


def test_a_key_belongs_to_its_caller(database: Database) -> None:
    accept(database, key="same")
    with database.connection() as connection:
        assert idempotency.get_idempotency_key(connection, caller="user-2", key="same") is None


@pytest.mark.parametrize("changes", [{"order_id": ""}, {"order_id": "x" * 256}, {"user_id": ""}])
def test_what_the_schema_refuses_leaves_nothing_behind(database: Database, changes: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        try_to_accept(database, key="key-1", **changes)
    assert rows(database, COUNTS) == [(0, 0, 0, 0)]


def test_a_failure_in_the_last_insert_takes_everything_back(database: Database) -> None:
    rows(database, "ALTER TABLE jobs ADD CONSTRAINT no_jobs CHECK (false) NOT VALID")
    try:
        with pytest.raises(psycopg.errors.CheckViolation):
            try_to_accept(database, key="key-1")
    finally:
        rows(database, "ALTER TABLE jobs DROP CONSTRAINT no_jobs")
    assert rows(database, COUNTS) == [(0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("amount", "taken"), [(99, False), (100, True), (99_999_999_900, True), (99_999_999_901, False)]
)
def test_the_limits_of_a_currency_are_inclusive(database: Database, amount: int, taken: bool) -> None:
    assert (try_to_accept(database, key="key-1", amount=amount) is not None) is taken
    assert rows(database, COUNTS) == [(1, 1, 1, 1) if taken else (0, 0, 0, 0)]


def test_a_currency_that_is_switched_off_is_not_taken(database: Database) -> None:
    rows(database, "UPDATE supported_currencies SET is_active = false WHERE code = 'GHS'")
    assert try_to_accept(database, key="key-1", currency=Currency.GHS) is None
    assert rows(database, COUNTS) == [(0, 0, 0, 0)]
    with database.connection() as connection:
        assert currencies.get_currency_limits(connection, Currency.GHS) is None
        assert currencies.get_currency_limits(connection, Currency.NGN) is not None


def test_every_currency_of_the_domain_has_its_limits(database: Database) -> None:
    assert {row[0] for row in rows(database, "SELECT code FROM supported_currencies")} == set(Currency)
    assert all(accept(database, currency=currency) for currency in Currency)
    assert len(job_ids(database)) == len(Currency)
