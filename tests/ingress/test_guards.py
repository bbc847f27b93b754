"""One intention, one payment: keys, orders, and what happens when two ask at once or the asker dies in between."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from flask import Flask
from flask.testing import FlaskClient

from db import payments
from db.connection import Database
from db.payments import SourcedChange
from domain.errors import ErrorCode
from domain.ids import Prefix, parse
from domain.payment import ChargeFailed, Source
from domain.state_machine import apply
from tests.ingress.conftest import ORDER, bearer
from tests.ingress.test_input import in_envelope, refused
from tests.patience import eventually
from tests.stories import payment_now, rows


def post(client: FlaskClient, key: str | None = None, **changes: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/payments", json=ORDER | changes, headers=bearer(**headers))


def decline(database: Database, payment_id: str) -> None:
    """Do what the worker does when Paystack says no."""
    payment = payment_now(database, parse(Prefix.PAYMENT, payment_id))
    with database.transaction() as tx:
        locked = payments.lock_payments(tx, [payment.id])[payment.id]
        change = apply(locked, ChargeFailed(reference=locked.reference, reason="Declined", transaction_id=None))
        assert change is not None
        payments.write_changes(tx, [SourcedChange(change, Source.VERIFY, "req_worker")])


def test_a_second_payment_of_an_order_is_refused_and_names_the_first(client: FlaskClient, database: Database) -> None:
    first = in_envelope(post(client))["data"]["paymentId"]
    for key in (None, "another"):
        error = refused(post(client, key), ErrorCode.DUPLICATE_PAYMENT, "orderId")
        assert error["details"] == first
    assert rows(database, "SELECT count(*) FROM payments") == [(1,)]
    assert rows(database, "SELECT count(*) FROM idempotency_keys") == [(0,)], "a refused request uses up no key"


def test_an_order_whose_payment_failed_can_be_paid_anew(client: FlaskClient, database: Database) -> None:
    first = in_envelope(post(client))["data"]["paymentId"]
    decline(database, first)
    second = in_envelope(post(client))["data"]["paymentId"]
    assert second != first
    error = refused(post(client), ErrorCode.DUPLICATE_PAYMENT, "orderId")
    assert error["details"] == second


def test_a_key_is_replayed_even_though_its_order_is_taken(client: FlaskClient) -> None:
    first, again = (post(client, key="k") for _ in range(2))
    assert in_envelope(again)["data"] == in_envelope(first)["data"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_stands_for_one_order_only(client: FlaskClient) -> None:
    post(client, key="k")
    refused(post(client, key="k", orderId="order-2"), ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key")


def test_of_twenty_requests_at_once_for_one_order_one_is_accepted(session_app: Flask, database: Database) -> None:
    def send(number: int) -> Any:
        return post(session_app.test_client(), key=f"k{number}")

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(send, range(20)))
    (accepted,) = [answer for answer in answers if answer.status_code == 202]
    payment_id = in_envelope(accepted)["data"]["paymentId"]
    for answer in answers:
        if answer is not accepted:
            assert refused(answer, ErrorCode.DUPLICATE_PAYMENT, "orderId")["details"] == payment_id
    assert rows(database, "SELECT count(*) FROM jobs") == [(1,)]


@contextmanager
def under_way(url: str, statement: LiteralString) -> Generator[psycopg.Connection[Any]]:
    """Another request that has not committed yet."""
    with psycopg.connect(url) as other:
        other.execute(statement)
        yield other


KEY_UNDER_WAY = """
INSERT INTO idempotency_keys (caller, key, fingerprint, payment_id, created_at)
VALUES ('user-1', 'k', '\\x00', gen_random_uuid(), now())
"""


def test_while_its_twin_is_being_stored_a_request_is_told_so(
    app_with: Callable[[str], FlaskClient], database: Database, migrated_url: str
) -> None:
    impatient = app_with("lock_timeout=200ms")
    with under_way(migrated_url, KEY_UNDER_WAY):
        answer = post(impatient, key="k")
        refused(answer, ErrorCode.REQUEST_IN_PROGRESS)
        assert answer.headers["Retry-After"] == "2"
        assert post(impatient, key="other", orderId="order-2").status_code == 202


def test_a_request_whose_twin_dies_before_its_commit_takes_its_place(
    session_app: Flask, database: Database, migrated_url: str
) -> None:
    with ThreadPoolExecutor(1) as threads, under_way(migrated_url, KEY_UNDER_WAY) as twin:
        waiting = threads.submit(post, session_app.test_client(), key="k")
        eventually(lambda: twin.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
        twin.rollback()
        answer = waiting.result(10)
    assert answer.status_code == 202
    assert "Idempotency-Replayed" not in answer.headers


def test_a_database_that_takes_no_writes_is_maintenance_and_still_read(
    app_with: Callable[[str], FlaskClient], client: FlaskClient
) -> None:
    made = in_envelope(post(client))["data"]
    read_only = app_with("default_transaction_read_only=on")
    answer = post(read_only, orderId="order-2")
    refused(answer, ErrorCode.MAINTENANCE_MODE)
    assert answer.headers["Retry-After"] == "10"
    shown = read_only.get(f"/payments/{made['paymentId']}", headers=bearer())
    assert in_envelope(shown)["data"] == made
