"""`POST /payments` with a saved method: the user's own, active, in place of an e-mail address."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from db import methods
from db import payments as payments_table
from db.connection import Database
from db.payments import SourcedChange
from domain.errors import ErrorCode
from domain.ids import Prefix, parse, show
from domain.method import PaymentMethod
from domain.payment import Challenged, ChargeFailed, Fact, Source
from domain.state_machine import apply
from tests.ingress.conftest import MakeApp, bearer, token
from tests.ingress.test_input import in_envelope, refused
from tests.stories import authorization, job_ids, payment_now, rows, save_method, settings_for

ORDER: dict[str, Any] = {"userId": "user-1", "orderId": "order-1", "amount": 50_000, "currency": "NGN"}
INVALID = ErrorCode.INVALID_PAYMENT_METHOD


def post(
    client: FlaskClient, method: PaymentMethod | str, headers: dict[str, str] | None = None, **changes: Any
) -> Any:
    text = method if isinstance(method, str) else show(Prefix.PAYMENT_METHOD, method.id)
    body = ORDER | {"paymentMethodId": text} | changes
    return client.post("/payments", json=body, headers=headers or bearer())


def learn(database: Database, payment_id: str, fact_of: Any) -> None:
    """Do what the worker does when Paystack has answered."""
    payment = payment_now(database, parse(Prefix.PAYMENT, payment_id))
    fact: Fact = fact_of(payment.reference)
    with database.transaction() as tx:
        change = apply(payments_table.lock_payments(tx, [payment.id])[payment.id], fact)
        assert change is not None
        payments_table.write_changes(tx, [SourcedChange(change, Source.CHARGE, "req_worker")])


def test_a_payment_may_name_a_saved_method_and_is_charged_by_a_worker(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    answer = post(client, method)
    assert answer.status_code == 202
    data = in_envelope(answer)["data"]
    assert data["paymentMethodId"] == show(Prefix.PAYMENT_METHOD, method.id)
    assert job_ids(database, "charge_payment_method") == [parse(Prefix.PAYMENT, data["paymentId"])]
    assert job_ids(database, "initialize_payment") == []
    assert rows(database, "SELECT email_sealed, expires_at - created_at = interval '1 hour' FROM payments") == [
        (method.email_sealed, True)
    ]


def test_a_decline_is_a_result_and_answered_201_with_its_reason(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    headers = bearer(**{"Idempotency-Key": "k", "Prefer": "wait=1"})
    first = post(client, method, bearer(**{"Idempotency-Key": "k"}))
    learn(
        database,
        in_envelope(first)["data"]["paymentId"],
        lambda reference: ChargeFailed(reference=reference, reason="Insufficient Funds", transaction_id=1),
    )
    answer = post(client, method, headers)
    assert answer.status_code == 201
    data = in_envelope(answer)["data"]
    assert (data["status"], data["failure"]) == (
        "failed",
        {"code": "INSUFFICIENT_FUNDS", "message": "Insufficient Funds"},
    )


def test_a_challenge_tells_where_to_send_the_customer(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    first = post(client, method, bearer(**{"Idempotency-Key": "k"}))
    url = "https://checkout.paystack.com/resume/x"
    learn(
        database,
        in_envelope(first)["data"]["paymentId"],
        lambda reference: Challenged(reference, "open_url", None, "x", url),
    )
    answer = post(client, method, bearer(**{"Idempotency-Key": "k", "Prefer": "wait=1"}))
    assert answer.status_code == 201
    data = in_envelope(answer)["data"]
    assert (data["nextAction"], data["authorizationUrl"]) == ({"type": "open_url", "message": None}, url)


def test_only_an_active_method_of_the_user_can_be_charged(client: FlaskClient, database: Database) -> None:
    gone = save_method(database)
    with database.transaction() as tx:
        methods.deactivate_method(tx, gone.id, user_id="user-1")
    others = save_method(database, user_id="user-2")
    for method in (gone, others, f"pm_{'0' * 26}", "pay_x", "AUTH_8dfhjjdt"):
        refused(post(client, method), INVALID, "paymentMethodId")
        refused(post(client, method, bearer(token("shop", ["service"]))), INVALID, "paymentMethodId")
    assert rows(database, "SELECT id FROM payments") == []


def test_an_expired_card_is_refused(client: FlaskClient, database: Database) -> None:
    refused(post(client, save_method(database, authorization(exp_month=12, exp_year=2020))), INVALID, "paymentMethodId")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ada@example.com"}, "email"),
        ({"channels": ["card"]}, "channels"),
        ({"paymentChannel": "card"}, "paymentChannel"),
        ({"savePaymentMethod": True}, "savePaymentMethod"),
        ({"paymentMethodId": 7}, "paymentMethodId"),
        ({"paymentMethodId": None}, "email"),
    ],
)
def test_there_is_one_way_to_pay(client: FlaskClient, database: Database, changes: dict[str, Any], field: str) -> None:
    refused(post(client, save_method(database), **changes), ErrorCode.INVALID_REQUEST, field)


def test_a_method_is_not_charged_for_somebody_else(client: FlaskClient, database: Database) -> None:
    method = save_method(database, user_id="user-2")
    refused(post(client, method, userId="user-2"), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")


def test_what_was_accepted_is_answered_again_though_the_method_is_gone(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    headers = bearer(**{"Idempotency-Key": "k"})
    first = post(client, method, headers)
    with database.transaction() as tx:
        methods.deactivate_method(tx, method.id, user_id="user-1")
    again = post(client, method, headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert in_envelope(again)["data"] == in_envelope(first)["data"]
    refused(post(client, method, headers, amount=1), ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key")
    refused(post(client, method, bearer(**{"Idempotency-Key": "other"})), INVALID, "paymentMethodId")


def test_a_saved_card_is_not_charged_where_cards_are_switched_off(
    make_app: MakeApp, migrated_url: str, database: Database
) -> None:
    client = make_app(settings_for(migrated_url, enable_card_payments=False)).test_client()
    refused(post(client, save_method(database)), ErrorCode.FEATURE_DISABLED, "channels")
