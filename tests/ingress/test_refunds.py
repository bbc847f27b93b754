"""Refunds over HTTP: promised once for each key, never more than was paid, shown to those who may see them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db import payments, refunds
from db.connection import Database
from domain.errors import ErrorCode
from domain.ids import Prefix, parse, show
from domain.payment import Payment, Source
from domain.refund import RefundNews, RefundStatus, apply_news
from tests.ingress.conftest import bearer, token
from tests.ingress.test_input import in_envelope, refused
from tests.patience import eventually
from tests.refunding import ask_refund, pay, refund_now
from tests.stories import accept, event_types, history_of, payment_now, rows

SUPPORT = bearer(token("support-1", ["support"]))


def path_of(payment: Payment) -> str:
    return f"/payments/{show(Prefix.PAYMENT, payment.id)}/refund"


def post(client: FlaskClient, payment: Payment, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    return client.post(path_of(payment), json={} if body is None else body, headers=SUPPORT | (headers or {}))


def take_up(database: Database) -> None:
    """Do what the worker does once Paystack has the refund."""
    with database.transaction() as tx:
        ((refund_id, payment_id),) = tx.execute("SELECT id, payment_id FROM refunds").fetchall()
        payment = payments.lock_payments(tx, [payment_id])[payment_id]
        refund = refunds.get_refunds(tx, [refund_id])[refund_id]
        news = RefundNews(status=RefundStatus.PROCESSING, gateway_refund_id=900)
        change = apply_news(payment, refund, news, refund.created_at)
        assert change is not None
        payments.write_changes(tx, [refunds.sourced(change, Source.REFUND, "req_worker")])
        refunds.write_refunds(tx, [change])


def test_an_accepted_refund_is_answered_with_all_there_is_to_know(client: FlaskClient, database: Database) -> None:
    payment = pay(database)
    answer = post(client, payment, {"amount": 20_000, "reason": " broken ", "metadata": {"ticket": 7}})
    assert answer.status_code == 202
    data = in_envelope(answer)["data"]
    assert answer.headers["Location"] == f"/refunds/{data['refundId']}"
    assert answer.headers["Retry-After"] == "1"
    assert data == {
        "refundId": data["refundId"],
        "paymentId": show(Prefix.PAYMENT, payment.id),
        "amount": 20_000,
        "currency": "NGN",
        "status": "pending",
        "version": 1,
        "reason": "broken",
        "requestedBy": "support-1",
        "paystackRefundId": None,
        "failure": None,
        "metadata": {"ticket": 7},
        "createdAt": data["createdAt"],
        "processedAt": None,
        "estimatedSettlement": data["estimatedSettlement"],
    }
    assert data["estimatedSettlement"] > data["createdAt"]
    assert in_envelope(client.get(answer.headers["Location"], headers=SUPPORT))["data"] == data


def test_what_is_answered_is_committed_with_its_job_its_history_and_its_event(
    client: FlaskClient, database: Database
) -> None:
    payment = pay(database)
    refund_id = parse(Prefix.REFUND, in_envelope(post(client, payment))["data"]["refundId"])
    assert refund_now(database, refund_id).money.amount == 50_000
    assert rows(database, "SELECT id, queue, dedupe_key FROM jobs WHERE kind = 'send_refund'") == [
        (refund_id, "refunds", f"send_refund:{refund_id}")
    ]
    assert history_of(database, payment.id)[-1] == ("refund.requested", "SUCCESS")
    assert "refund.initiated" in event_types(database)
    assert payment_now(database, payment.id).refundable == 0


def test_the_refunds_of_a_payment_are_listed_with_its_sums(client: FlaskClient, database: Database) -> None:
    payment = pay(database)
    first, second = ask_refund(database, payment, 10_000), ask_refund(database, payment, 5_000)
    data = in_envelope(client.get(path_of(payment) + "s", headers=SUPPORT))["data"]
    assert [shown["refundId"] for shown in data.pop("refunds")] == [
        show(Prefix.REFUND, refund.id) for refund in (first, second)
    ]
    assert data == {
        "paymentId": show(Prefix.PAYMENT, payment.id),
        "amount": 50_000,
        "currency": "NGN",
        "refundedAmount": 0,
        "refundableAmount": 35_000,
    }


@pytest.mark.parametrize(("role", "status"), [("service", 202), ("support", 202), ("admin", 202)])
def test_those_who_may_refund(client: FlaskClient, database: Database, role: str, status: int) -> None:
    assert post(client, pay(database), headers=bearer(token("x", [role]))).status_code == status


@pytest.mark.parametrize("role", ["customer", "finance"])
def test_those_who_may_not_refund_are_refused_whatever_they_name(
    client: FlaskClient, database: Database, role: str
) -> None:
    headers = bearer(token("user-1", [role]))
    refused(post(client, pay(database), headers=headers), ErrorCode.INSUFFICIENT_PERMISSIONS)
    refused(client.post("/payments/x/refund", json={}, headers=headers), ErrorCode.INSUFFICIENT_PERMISSIONS)
    assert rows(database, "SELECT * FROM refunds") == []


def test_a_customer_sees_the_refunds_of_its_own_payments_only(client: FlaskClient, database: Database) -> None:
    payment = pay(database, user_id="user-1")
    refund = f"/refunds/{show(Prefix.REFUND, ask_refund(database, payment).id)}"
    for path, code, field in (
        (refund, ErrorCode.REFUND_NOT_FOUND, "refundId"),
        (path_of(payment) + "s", ErrorCode.PAYMENT_NOT_FOUND, "paymentId"),
    ):
        assert client.get(path, headers=bearer(token("user-1"))).status_code == 200
        refused(client.get(path, headers=bearer(token("user-2"))), code, field)
        refused(client.get(path), ErrorCode.UNAUTHORIZED, "Authorization")


@pytest.mark.parametrize("text", ["x", "pay_" + "0" * 26, "rfd_" + "0" * 25, "rfd_" + "0" * 26, "%00"])
def test_a_refund_that_is_not_there(client: FlaskClient, text: str) -> None:
    refused(client.get(f"/refunds/{text}", headers=SUPPORT), ErrorCode.REFUND_NOT_FOUND, "refundId")


@pytest.mark.parametrize("text", ["x", "rfd_" + "0" * 26, "pay_" + "0" * 26])
def test_a_payment_that_is_not_there(client: FlaskClient, text: str) -> None:
    refused(client.post(f"/payments/{text}/refund", json={}, headers=SUPPORT), ErrorCode.PAYMENT_NOT_FOUND, "paymentId")
    refused(client.get(f"/payments/{text}/refunds", headers=SUPPORT), ErrorCode.PAYMENT_NOT_FOUND, "paymentId")


def test_a_payment_that_was_not_paid_is_not_refunded(client: FlaskClient, database: Database) -> None:
    refused(post(client, accept(database)), ErrorCode.REFUND_NOT_ALLOWED)


def test_more_than_is_left_is_refused_and_nothing_is_stored(client: FlaskClient, database: Database) -> None:
    payment = pay(database)
    ask_refund(database, payment, 30_000)
    refused(post(client, payment, {"amount": 20_001}), ErrorCode.PARTIAL_REFUND_EXCEEDS, "amount")
    ask_refund(database, payment, 20_000)
    refused(post(client, payment), ErrorCode.REFUND_NOT_ALLOWED)
    assert rows(database, "SELECT count(*) FROM refunds") == [(2,)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 1.0}, "amount"),
        ({"amount": "1"}, "amount"),
        ({"amount": 2**63}, "amount"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 256}, "reason"),
        ({"metadata": []}, "metadata"),
        ({"currency": "NGN"}, "currency"),
    ],
)
def test_bad_input_names_its_field(client: FlaskClient, database: Database, body: Any, field: str) -> None:
    answer = post(client, pay(database), body)
    assert (answer.status_code, in_envelope(answer)["error"]["field"]) == (400, field)


def test_the_same_key_and_body_make_one_refund_and_answer_as_it_stands(client: FlaskClient, database: Database) -> None:
    payment = pay(database)
    first = post(client, payment, headers={"Idempotency-Key": "k"})
    take_up(database)
    again = post(client, payment, headers={"Idempotency-Key": "k"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.status_code == 202
    shown = in_envelope(again)["data"]
    assert shown["refundId"] == in_envelope(first)["data"]["refundId"]
    assert shown["status"] == "processing"


def test_a_key_that_stands_for_something_else_is_refused(client: FlaskClient, database: Database) -> None:
    payment, other = pay(database), pay(database, transaction_id=7002)
    post(client, payment, {"amount": 1}, headers={"Idempotency-Key": "k"})
    for answer in (
        post(client, payment, {"amount": 2}, headers={"Idempotency-Key": "k"}),
        post(client, other, {"amount": 1}, headers={"Idempotency-Key": "k"}),
    ):
        refused(answer, ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key")
    assert rows(database, "SELECT count(*) FROM refunds") == [(1,)]


def test_one_key_sent_many_times_at_once_makes_one_refund(session_app: Flask, database: Database) -> None:
    payment = pay(database)
    barrier = threading.Barrier(8)

    def ask(_: int) -> Any:
        barrier.wait()
        return post(session_app.test_client(), payment, {"amount": 10_000}, headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({in_envelope(answer)["data"]["refundId"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert payment_now(database, payment.id).refunds_reserved == 10_000


def test_refunds_asked_for_at_once_never_promise_more_than_was_paid(session_app: Flask, database: Database) -> None:
    payment = pay(database)
    barrier = threading.Barrier(12)

    def ask(_: int) -> int:
        barrier.wait()
        return post(session_app.test_client(), payment, {"amount": 7_000}).status_code

    with ThreadPoolExecutor(12) as threads:
        answers = sorted(threads.map(ask, range(12)))
    assert answers == [202] * 7 + [422] * 5
    assert payment_now(database, payment.id).refunds_reserved == 49_000
    assert rows(database, "SELECT sum(amount)::int, count(*) FROM refunds") == [(49_000, 7)]


def test_a_client_that_waits_is_answered_once_paystack_has_the_refund(session_app: Flask, database: Database) -> None:
    payment = pay(database)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(post, session_app.test_client(), payment, None, {"Prefer": "wait=20"})
        eventually(lambda: rows(database, "SELECT id FROM refunds"))
        take_up(database)
        answer = waiting.result()
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, "wait=20")
    assert in_envelope(answer)["data"]["status"] == "processing"
