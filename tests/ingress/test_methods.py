"""`/payment-methods`: pending until a worker has asked Paystack, each user's own, one of them the default."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db import methods
from db.connection import Database
from db.methods import SealedAuthorization
from domain.errors import ErrorCode
from domain.ids import Prefix, parse, show
from domain.method import PaymentMethod
from tests.ingress.conftest import MakeApp, bearer, token
from tests.ingress.test_input import in_envelope, refused
from tests.patience import eventually
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    authorization,
    job_ids,
    method_now,
    rows,
    save_method,
    seal,
    settings_for,
)

CARD: dict[str, Any] = {"userId": "user-1", "authorizationCode": AUTHORIZATION_CODE, "email": EMAIL}
PATH = "/payment-methods"
KEY = {"Idempotency-Key": "k"}


def post(client: FlaskClient, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> Any:
    return client.post(PATH, json=CARD if body is None else body, headers=bearer(**headers or {}))


def shown(method: PaymentMethod) -> str:
    return show(Prefix.PAYMENT_METHOD, method.id)


def id_of(answer: Any) -> Any:
    return parse(Prefix.PAYMENT_METHOD, in_envelope(answer)["data"]["paymentMethodId"])


def activate(database: Database, method_id: Any, **changes: Any) -> None:
    """Do what the worker does when Paystack knows the code."""
    given = authorization(**changes)
    sealed = SealedAuthorization(given, seal().seal(given.code.encode()), seal().seal(given.email.encode()))
    with database.transaction() as tx:
        methods.activate_method(tx, method_id, user_id="user-1", sealed=sealed)


def reject(database: Database, method_id: Any, code: ErrorCode) -> None:
    with database.transaction() as tx:
        methods.reject_method(tx, method_id, code=code, message="Paystack says no.")


def test_an_added_method_is_pending_and_shows_no_secret(client: FlaskClient, database: Database) -> None:
    answer = post(client, {**CARD, "cardType": "visa"})
    assert answer.status_code == 202
    data = in_envelope(answer)["data"]
    assert answer.headers["Location"] == f"{PATH}/{data['paymentMethodId']}"
    assert data == {
        "paymentMethodId": data["paymentMethodId"],
        "userId": "user-1",
        "status": "pending",
        "type": None,
        "cardType": "visa",
        "cardBrand": None,
        "cardLast4": None,
        "expiryMonth": None,
        "expiryYear": None,
        "bankName": None,
        "accountName": None,
        "isReusable": False,
        "isDefault": False,
        "mergedInto": None,
        "failure": None,
        "createdAt": data["createdAt"],
    }
    assert in_envelope(client.get(answer.headers["Location"], headers=bearer()))["data"] == data
    assert job_ids(database, "check_payment_method") == [id_of(answer)]


def test_a_client_that_waits_gets_the_method_as_paystack_tells_of_it(session_app: Flask, database: Database) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(post, session_app.test_client(), headers={"Prefer": "wait=20"})
        ((method_id,),) = eventually(lambda: rows(database, "SELECT id FROM payment_methods"))
        activate(database, method_id)
        answer = waiting.result()
    assert answer.status_code == 201
    data = in_envelope(answer)["data"]
    assert (data["status"], data["cardLast4"], data["expiryYear"], data["isDefault"]) == ("active", "4081", 2030, True)


@pytest.mark.parametrize("code", [ErrorCode.PAYSTACK_AUTHORIZATION_INVALID, ErrorCode.INVALID_PAYMENT_METHOD])
def test_a_client_that_waits_for_a_method_that_is_rejected_gets_the_error(
    session_app: Flask, database: Database, code: ErrorCode
) -> None:
    client = session_app.test_client()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(post, client, headers=KEY | {"Prefer": "wait=20"})
        ((method_id,),) = eventually(lambda: rows(database, "SELECT id FROM payment_methods"))
        reject(database, method_id, code)
        error = refused(waiting.result(), code, "authorizationCode")
    assert show(Prefix.PAYMENT_METHOD, method_id) in error["details"]
    method = in_envelope(client.get(f"{PATH}/{show(Prefix.PAYMENT_METHOD, method_id)}", headers=bearer()))["data"]
    assert (method["status"], method["failure"]) == ("rejected", {"code": code, "message": "Paystack says no."})
    replayed = post(client, headers=KEY)
    assert replayed.status_code == 202, "who does not wait sees the method itself"
    assert in_envelope(replayed)["data"] == method


def test_a_method_that_was_held_already_names_the_one_that_holds_it(client: FlaskClient, database: Database) -> None:
    first = save_method(database)
    again = post(client)
    with database.transaction() as tx:
        methods.merge_method(tx, id_of(again), into=first.id)
    data = in_envelope(client.get(again.headers["Location"], headers=bearer()))["data"]
    assert (data["status"], data["mergedInto"]) == ("inactive", shown(first))


def test_one_key_adds_one_method(client: FlaskClient, database: Database) -> None:
    first, again = post(client, headers=KEY), post(client, headers=KEY)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert in_envelope(again)["data"] == in_envelope(first)["data"]
    refused(
        post(client, {**CARD, "email": "x@y.example"}, headers=KEY), ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key"
    )
    assert len(rows(database, "SELECT id FROM payment_methods")) == 1


def test_a_key_of_a_payment_adds_no_method(client: FlaskClient) -> None:
    body = {"userId": "user-1", "orderId": "o", "amount": 50_000, "email": EMAIL}
    payment = client.post("/payments", json=body, headers=bearer(**KEY))
    error = refused(post(client, headers=KEY), ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key")
    assert in_envelope(payment)["data"]["paymentId"] in error["details"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"authorizationCode": "4084084084084081"}, "authorizationCode"),
        ({"authorizationCode": "AUTH_"}, "authorizationCode"),
        ({"authorizationCode": "AUTH_a\n"}, "authorizationCode"),
        ({"authorizationCode": "AUTH_" + "a" * 96}, "authorizationCode"),
        ({"email": "nobody"}, "email"),
        ({"userId": ""}, "userId"),
        ({"cardType": 7}, "cardType"),
        ({"cvv": "408"}, "cvv"),
    ],
)
def test_bad_input_names_its_field(
    client: FlaskClient, database: Database, changes: dict[str, Any], field: str
) -> None:
    refused(post(client, CARD | changes), ErrorCode.INVALID_REQUEST, field)
    assert rows(database, "SELECT id FROM payment_methods") == []


def test_the_list_shows_active_methods_newest_first_and_the_default(client: FlaskClient, database: Database) -> None:
    made = [save_method(database, authorization(f"AUTH_{n}", signature=f"SIG_{n}")) for n in range(3)]
    gone, *_ = made
    post(client)
    assert client.delete(f"{PATH}/{shown(gone)}", headers=bearer()).status_code == 200
    data = in_envelope(client.get(f"{PATH}/user/user-1", headers=bearer()))["data"]
    assert [method["paymentMethodId"] for method in data["paymentMethods"]] == [shown(m) for m in made[:0:-1]]
    assert data["defaultMethodId"] == shown(made[2])


def test_a_user_without_methods_has_an_empty_list(client: FlaskClient) -> None:
    data = in_envelope(client.get(f"{PATH}/user/a/b", headers=bearer(token("a/b"))))["data"]
    assert data == {"paymentMethods": [], "defaultMethodId": None}


def test_another_default_can_be_chosen_among_active_methods(client: FlaskClient, database: Database) -> None:
    first = save_method(database)
    second = save_method(database, authorization("AUTH_2", signature="SIG_2"))
    answer = client.post(f"{PATH}/{shown(second)}/default", headers=bearer())
    assert in_envelope(answer)["data"]["isDefault"] is True
    assert not method_now(database, first.id).is_default
    client.delete(f"{PATH}/{shown(first)}", headers=bearer())
    refused(
        client.post(f"{PATH}/{shown(first)}/default", headers=bearer()),
        ErrorCode.INVALID_PAYMENT_METHOD,
        "paymentMethodId",
    )
    assert method_now(database, second.id).is_default


def test_a_method_is_taken_away_at_once_and_paystack_is_told(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    answers = [client.delete(f"{PATH}/{shown(method)}", headers=bearer()) for _ in range(2)]
    assert [in_envelope(answer)["data"]["status"] for answer in answers] == ["inactive"] * 2
    assert answers[0].status_code == 200
    sql = "SELECT payload->>'payment_method_id' FROM jobs WHERE kind = 'deactivate_payment_method'"
    assert rows(database, sql) == [(str(method.id),)]


def test_a_code_nobody_has_checked_is_not_taken_back_at_paystack(client: FlaskClient, database: Database) -> None:
    method = post(client)
    answer = client.delete(method.headers["Location"], headers=bearer())
    assert in_envelope(answer)["data"]["status"] == "inactive"
    assert job_ids(database, "deactivate_payment_method") == [], "it may be somebody else's"


def test_a_rejected_method_stays_rejected_when_taken_away(client: FlaskClient, database: Database) -> None:
    method = post(client)
    reject(database, id_of(method), ErrorCode.PAYSTACK_AUTHORIZATION_INVALID)
    answer = client.delete(method.headers["Location"], headers=bearer())
    assert in_envelope(answer)["data"]["failure"]["code"] == ErrorCode.PAYSTACK_AUTHORIZATION_INVALID


def test_somebody_elses_method_is_like_none(client: FlaskClient, database: Database) -> None:
    path = f"{PATH}/{shown(save_method(database, user_id='user-2'))}"
    for answer in (
        client.get(path, headers=bearer()),
        client.delete(path, headers=bearer()),
        client.post(f"{path}/default", headers=bearer()),
        client.get(f"{PATH}/pm_{'0' * 26}", headers=bearer()),
        client.get(f"{PATH}/pay_{'0' * 26}", headers=bearer()),
    ):
        refused(answer, ErrorCode.PAYMENT_METHOD_NOT_FOUND, "paymentMethodId")
    refused(client.get(f"{PATH}/user/user-2", headers=bearer()), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
    refused(post(client, {**CARD, "userId": "user-2"}), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
    assert rows(database, "SELECT status::text FROM payment_methods") == [("ACTIVE",)]


def test_support_sees_and_does_not_change_what_a_backend_may(client: FlaskClient, database: Database) -> None:
    method = save_method(database)
    path = f"{PATH}/{shown(method)}"
    support, service = bearer(token("sam", ["support"])), bearer(token("shop", ["service"]))
    assert client.get(path, headers=support).status_code == 200
    assert client.get(f"{PATH}/user/user-1", headers=support).status_code == 200
    refused(client.delete(path, headers=support), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
    refused(client.post(f"{path}/default", headers=support), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
    assert client.post(f"{path}/default", headers=service).status_code == 200
    assert client.delete(path, headers=service).status_code == 200


def test_without_a_token_nothing_is_shown(client: FlaskClient, database: Database) -> None:
    path = f"{PATH}/{shown(save_method(database))}"
    for answer in (client.get(path), client.delete(path), client.post(PATH, json=CARD), client.get(f"{PATH}/user/x")):
        refused(answer, ErrorCode.UNAUTHORIZED, "Authorization")


def test_a_cached_list_is_served_until_one_of_the_users_methods_changes(
    make_app: MakeApp, migrated_url: str, redis_url: str, database: Database
) -> None:
    client = make_app(settings_for(migrated_url, redis_url=redis_url)).test_client()
    headers = bearer(token("shop", ["service"]))

    def shown_to_shop() -> list[str]:
        data = in_envelope(client.get(f"{PATH}/user/cached-user", headers=headers))["data"]
        return [method["paymentMethodId"] for method in data["paymentMethods"]]

    assert shown_to_shop() == []
    method = save_method(database, user_id="cached-user")  # by a process without a cache: nobody hears of it
    assert shown_to_shop() == []
    assert client.post(f"{PATH}/{shown(method)}/default", headers=headers).status_code == 200
    assert shown_to_shop() == [shown(method)]
    assert client.delete(f"{PATH}/{shown(method)}", headers=headers).status_code == 200
    assert shown_to_shop() == []
