"""`/payments`: what is answered is committed, once for each key, and a client may wait for the URL."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db import payments as payments_table
from db.connection import Database
from db.payments import SourcedChange
from domain.errors import ErrorCode
from domain.ids import Prefix, parse, show
from domain.payment import Initialized, Payment, Source
from domain.state_machine import apply
from ingress import payments as payments_routes
from ingress.payments import _PAYABLE
from ingress.waiting import Awaited, WaitingRoom
from tests.ingress.conftest import ORDER, bearer
from tests.ingress.test_input import hook, in_envelope, refused
from tests.patience import eventually
from tests.stories import accept, payment_now, rows


def post(client: FlaskClient, body: dict[str, Any] = ORDER, headers: dict[str, str] | None = None) -> Any:
    return client.post("/payments", json=body, headers=bearer() | (headers or {}))


def make_payable(database: Database, payment: Payment) -> None:
    """Do what the worker does."""
    fact = Initialized(payment.reference, "ac_1", "https://checkout.example/1")
    with database.transaction() as tx:
        locked = payments_table.lock_payments(tx, [payment.id])[payment.id]
        change = apply(locked, fact)
        assert change is not None
        payments_table.write_changes(tx, [SourcedChange(change, Source.INITIALIZE, "req_worker")])


def test_an_accepted_payment_is_answered_with_all_there_is_to_know(client: FlaskClient, database: Database) -> None:
    answer = post(client, {**ORDER, "metadata": {"cart": [1, 2.5, None]}, "paymentChannel": "ussd"})
    assert answer.status_code == 202
    data = in_envelope(answer)["data"]
    payment = payment_now(database, parse(Prefix.PAYMENT, data["paymentId"]))
    assert answer.headers["Location"] == f"/payments/{data['paymentId']}"
    assert answer.headers["Retry-After"] == "1"
    assert data == {
        "paymentId": show(Prefix.PAYMENT, payment.id),
        "userId": "user-1",
        "orderId": "order-1",
        "amount": 50_000,
        "currency": "NGN",
        "status": "pending",
        "version": 1,
        "reference": payment.reference,
        "authorizationUrl": None,
        "accessCode": None,
        "nextAction": None,
        "channel": None,
        "cardType": None,
        "cardBrand": None,
        "cardLast4": None,
        "paymentMethodId": None,
        "paystackTransactionId": None,
        "refundedAmount": 0,
        "refundableAmount": 0,
        "failure": None,
        "reviewReason": None,
        "metadata": {"cart": [1, 2.5, None]},
        "createdAt": data["createdAt"],
        "expiresAt": data["expiresAt"],
        "paidAt": None,
    }
    assert in_envelope(client.get(answer.headers["Location"], headers=bearer()))["data"] == data
    assert rows(database, "SELECT channels FROM payments") == [(["ussd"],)]
    assert rows(database, "SELECT count(*) FROM jobs") == [(1,)]


def test_the_currency_is_naira_unless_said(client: FlaskClient) -> None:
    body = {key: value for key, value in ORDER.items() if key != "currency"}
    assert in_envelope(post(client, body))["data"]["currency"] == "NGN"


@pytest.mark.parametrize(
    "text", ["x", "pay_", "pay_" + "0" * 25, "PAY_" + "0" * 26, "evt_" + "0" * 26, "\u0661", "%00"]
)
def test_an_id_that_is_none_is_like_one_nobody_has(client: FlaskClient, text: str) -> None:
    refused(client.get(f"/payments/{text}", headers=bearer()), ErrorCode.PAYMENT_NOT_FOUND, "paymentId")


def test_the_same_key_and_body_get_the_same_payment_marked_as_replayed(client: FlaskClient, database: Database) -> None:
    first = post(client, headers={"Idempotency-Key": "k"})
    again = client.post(
        "/payments",
        data='{"email": "ada.lovelace@example.com", "currency": "NGN", "amount": 50000, "orderId": "order-1",'
        ' "userId": "user-\\u0031"}',
        content_type="application/json",
        headers=bearer(**{"Idempotency-Key": "k"}),
    )
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.status_code == 202
    assert in_envelope(again)["data"] == in_envelope(first)["data"]
    assert rows(database, "SELECT count(*) FROM payments") == [(1,)]


def test_the_same_key_with_another_body_is_refused(client: FlaskClient, database: Database) -> None:
    first = post(client, headers={"Idempotency-Key": "k"})
    error = refused(
        post(client, {**ORDER, "amount": 50_001}, headers={"Idempotency-Key": "k"}),
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        "Idempotency-Key",
    )
    assert in_envelope(first)["data"]["paymentId"] in error["details"]
    assert rows(database, "SELECT amount FROM payments") == [(50_000,)]


def test_a_request_that_was_refused_does_not_use_up_its_key(client: FlaskClient) -> None:
    refused(post(client, {**ORDER, "amount": 1}, headers={"Idempotency-Key": "k"}), ErrorCode.INVALID_AMOUNT, "amount")
    assert post(client, headers={"Idempotency-Key": "k"}).status_code == 202


def test_twenty_requests_at_once_with_one_key_get_one_payment(session_app: Flask, database: Database) -> None:
    def send(_: int) -> Any:
        return post(session_app.test_client(), headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(send, range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({in_envelope(answer)["data"]["paymentId"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1


def test_a_client_that_waits_gets_the_url_as_soon_as_it_is_there(session_app: Flask, database: Database) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(post, session_app.test_client(), headers={"Prefer": "respond-async, wait=20"})
        (payment_id,) = eventually(lambda: rows(database, "SELECT id FROM payments"))[0]
        make_payable(database, payment_now(database, payment_id))
        answer = waiting.result()
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert in_envelope(answer)["data"]["authorizationUrl"] == "https://checkout.example/1"
    assert "Retry-After" not in answer.headers


def test_a_client_that_waits_in_vain_gets_the_202(client: FlaskClient, database: Database) -> None:
    answer = post(client, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert in_envelope(answer)["data"]["authorizationUrl"] is None
    assert rows(database, "SELECT count(*) FROM payments") == [(1,)]


def test_a_replay_of_a_payable_payment_does_not_wait(client: FlaskClient, database: Database) -> None:
    first = post(client, headers={"Idempotency-Key": "k"})
    payment = payment_now(database, parse(Prefix.PAYMENT, in_envelope(first)["data"]["paymentId"]))
    make_payable(database, payment)
    again = post(client, headers={"Idempotency-Key": "k", "Prefer": "wait=30"})
    assert again.status_code == 201
    assert in_envelope(again)["data"]["accessCode"] == "ac_1"


def test_waiters_are_bounded_and_one_look_serves_them_all(database: Database) -> None:
    room = WaitingRoom(database, places=2)
    one, other, third = (accept(database) for _ in range(3))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(room.wait, _PAYABLE, payment.id, 30) for payment in (one, other)]
        eventually(lambda: len(room._tickets) == 2)
        assert room.wait(_PAYABLE, third.id, 30) is None, "no place is free"
        make_payable(database, one)
        make_payable(database, other)
        found = [future.result() for future in waiting]
    assert [payment.id for payment in found if payment is not None] == [one.id, other.id]
    make_payable(database, third)
    late = room.wait(_PAYABLE, third.id, 30)
    assert late is not None


def test_after_a_failed_look_the_next_waiter_is_served(database: Database) -> None:
    room = WaitingRoom(database, places=2)
    payment = accept(database)
    make_payable(database, payment)
    failed = threading.Event()

    def breaks(*_: object) -> dict[UUID, Payment]:
        failed.set()
        raise RuntimeError("a defect of ours")

    room.wait(Awaited(breaks, _PAYABLE.is_ready), payment.id, 0.2)
    assert failed.is_set()
    assert room.wait(_PAYABLE, payment.id, 10) is not None


def test_without_postgres_nothing_is_promised(cut_off: FlaskClient) -> None:
    for answer in (
        post(cut_off, headers={"Idempotency-Key": "k"}),
        cut_off.get(f"/payments/pay_{'0' * 26}", headers=bearer()),
        hook(cut_off, b"{}"),
        cut_off.get("/ready"),
    ):
        error = refused(answer, ErrorCode.SERVICE_UNAVAILABLE)
        assert answer.headers["Retry-After"] == "2"
        assert "127.0.0.1" not in str(error)
    assert in_envelope(cut_off.get("/health"))["data"] == {"status": "alive"}
    refused(post(cut_off, {}), ErrorCode.INVALID_REQUEST, "userId")


def test_a_defect_of_ours_is_answered_500_without_its_details(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("sk_test_hunter2")

    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(payments_routes, "render_payment", breaks)
    answer = post(client)
    refused(answer, ErrorCode.INTERNAL_ERROR)
    assert b"hunter2" not in answer.data


def test_a_ready_service_says_so(client: FlaskClient) -> None:
    assert in_envelope(client.get("/ready"))["data"]["status"] == "ready"
