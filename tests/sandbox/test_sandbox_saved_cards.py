"""A saved card is charged by its code, with its owner's address, and goes as planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox
from sandbox.world import Options
from tests.customer import Visitor
from tests.sandbox.conftest import Api

CHARGED_FIELDS = {
    *("amount", "currency", "transaction_date", "status", "reference", "domain", "metadata", "gateway_response"),
    *("message", "channel", "ip_address", "log", "fees", "authorization", "customer", "plan", "id"),
}
MISMATCH = (
    "Email does not match Authorization code. Authorization may be inactive or belong to a different email."
    " Please confirm."
)

Charge = Callable[..., requests.Response]


def post(api: Api, path: str, **body: Any) -> requests.Response:
    return api.session.post(f"{api.url}{path}", json=body, timeout=10)


def save(api: Api, sandbox: RunningSandbox, reference: str = "first", **wanted: Any) -> dict[str, Any]:
    """Pay once, which leaves an authorization behind."""
    api.initialize(reference=reference, **wanted)
    sandbox.control(f"transactions/{reference}/pay", {})
    return api.verify(reference)["authorization"]


@pytest.fixture
def saved(api: Api, sandbox: RunningSandbox) -> dict[str, Any]:
    return save(api, sandbox)


@pytest.fixture
def charge(api: Api, saved: dict[str, Any]) -> Charge:
    def send(**wanted: Any) -> requests.Response:
        defaults = {
            "email": "ama@example.com",
            "amount": 35247,
            "authorization_code": saved["authorization_code"],
            "reference": "again",
        }
        return post(api, "/transaction/charge_authorization", **defaults | wanted)

    return send


def test_a_charge_answers_the_published_fields_and_pays(
    api: Api, catcher: WebhookCatcher, saved: dict[str, Any], charge: Charge
) -> None:
    answer = charge(metadata={"order": "7"}).json()
    assert (answer["status"], answer["message"]) == (True, "Charge attempted")
    data = answer["data"]
    assert data.keys() == CHARGED_FIELDS
    assert (data["status"], data["gateway_response"], data["amount"]) == ("success", "Approved", 35247)
    assert (data["metadata"], data["customer"]["email"]) == ({"order": "7"}, "ama@example.com")
    assert data["authorization"].keys() == saved.keys()
    verified = api.verify("again")
    assert (verified["status"], verified["authorization"]) == ("success", data["authorization"])
    event = catcher.wait_for(2)[1].event
    assert (event["event"], event["data"]["reference"]) == ("charge.success", "again")
    assert event["data"]["source"]["entry_point"] == "charge"


def test_each_use_makes_a_new_code_of_the_same_signature_and_both_can_be_charged(
    saved: dict[str, Any], charge: Charge
) -> None:
    newer = charge().json()["data"]["authorization"]
    assert newer["authorization_code"] != saved["authorization_code"]
    assert newer | {"authorization_code": saved["authorization_code"]} == saved
    for number, code in enumerate((newer["authorization_code"], saved["authorization_code"])):
        again = charge(reference=f"again-{number}", authorization_code=code).json()["data"]
        assert (again["status"], again["authorization"]["signature"]) == ("success", saved["signature"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"authorization_code": "AUTH_nothing"}, "Authorization code is invalid"),
        ({"authorization_code": None}, "Authorization code is required"),
        ({"email": "kofi@example.com"}, MISMATCH),
        ({"email": "ama@nowhere.invalid"}, "Invalid Email Address Passed"),
        ({"amount": 0}, "Invalid Amount Sent"),
        ({"amount": 100.5}, '"amount" must be an integer'),
        ({"currency": "EUR"}, "Currency not supported by merchant"),
    ],
)
def test_a_refused_charge_says_why_makes_no_transaction_and_leaves_its_reference_free(
    api: Api, charge: Charge, wrong: dict[str, Any], message: str
) -> None:
    answer = charge(**wrong)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert api.get("/verify/again").json()["code"] == "transaction_not_found"
    assert charge().json()["data"]["status"] == "success"


def test_a_reference_serves_one_charge_whatever_became_of_it(api: Api, sandbox: RunningSandbox, charge: Charge) -> None:
    sandbox.control("charges", {"outcome": "declined"})
    assert charge().json()["data"]["status"] == "failed"
    for reference in ("again", "first"):
        answer = charge(reference=reference)
        assert (answer.status_code, answer.json()["code"]) == (400, "duplicate_reference")
    assert api.initialize(reference="again").json()["code"] == "duplicate_reference"
    row = sandbox.control("book?reference=again")["transactions"][0]
    assert (row["status"], row["calls"]) == ("failed", {"initialize": 1, "charge": 2, "verify": 0})


def test_what_is_not_reusable_cannot_be_charged(api: Api, charge: Charge) -> None:
    url = api.initialize(reference="wallet", currency="GHS").json()["data"]["authorization_url"]
    Visitor(url).submit("mobile_money", provider="mtn", phone="0551234987")
    wallet = api.verify("wallet")["authorization"]
    assert (wallet["reusable"], wallet["signature"]) == (False, None)
    answer = charge(authorization_code=wallet["authorization_code"], currency="GHS")
    assert (answer.status_code, answer.json()["message"]) == (400, MISMATCH)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"outcome": "declined"}, "Declined"),
        ({"outcome": "declined", "gateway_response": "Do not honour"}, "Do not honour"),
        ({"outcome": "insufficient_funds"}, "Insufficient Funds"),
    ],
)
def test_a_charge_planned_to_fail_fails_once_with_its_reason(
    api: Api,
    sandbox: RunningSandbox,
    catcher: WebhookCatcher,
    saved: dict[str, Any],
    charge: Charge,
    plan: dict[str, Any],
    reason: str,
) -> None:
    sandbox.control("charges", plan)
    answer = charge()
    assert (answer.status_code, answer.json()["status"]) == (200, True)
    data = answer.json()["data"]
    assert (data["status"], data["gateway_response"], data["fees"]) == ("failed", reason, None)
    assert data["authorization"] == saved
    verified = api.verify("again")
    assert (verified["status"], verified["gateway_response"], verified["paid_at"]) == ("failed", reason, None)
    assert charge(reference="third").json()["data"]["status"] == "success"
    assert [caught.event["data"]["reference"] for caught in catcher.wait_for(2)] == ["first", "third"]


def test_a_plan_waits_for_the_code_or_address_it_names(
    api: Api, sandbox: RunningSandbox, saved: dict[str, Any], charge: Charge
) -> None:
    other = save(api, sandbox, "kofi", email="kofi@example.com")
    sandbox.control("charges", {"outcome": "insufficient_funds", "authorization_code": saved["authorization_code"]})
    sandbox.control("charges", {"outcome": "declined", "email": "Kofi@example.com"})
    assert len(sandbox.control("charges")["charges"]) == 2
    theirs = {"email": "kofi@example.com", "authorization_code": other["authorization_code"]}
    assert charge(reference="a", **theirs).json()["data"]["gateway_response"] == "Declined"
    assert charge(reference="b").json()["data"]["gateway_response"] == "Insufficient Funds"
    assert sandbox.control("charges")["charges"] == []


def test_a_challenged_charge_pauses_until_the_customer_confirms(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher, charge: Charge
) -> None:
    sandbox.control("charges", {"outcome": "challenged"})
    answer = charge(callback_url="http://shop.example/back").json()
    data = answer["data"]
    assert (answer["status"], data.keys()) == (True, {"authorization_url", "reference", "access_code", "paused"})
    assert (data["paused"], data["reference"]) == (True, "again")
    assert api.verify("again")["status"] == "abandoned"
    visitor = Visitor(data["authorization_url"])
    assert "Your bank's page" in visitor.text
    visitor.submit("bank_page", outcome="success")
    assert "Payment successful" in visitor.text
    assert "http://shop.example/back?trxref=again" in visitor.text
    assert api.verify("again")["status"] == "success"
    assert catcher.wait_for(2)[1].event["data"]["reference"] == "again"


def test_a_challenge_that_the_customer_fails_fails_the_charge(
    api: Api, sandbox: RunningSandbox, charge: Charge
) -> None:
    sandbox.control("charges", {"outcome": "challenged"})
    Visitor(charge().json()["data"]["authorization_url"]).submit("bank_page", outcome="fail")
    assert api.verify("again")["status"] == "failed"


def test_a_charge_may_ask_for_a_password(api: Api, sandbox: RunningSandbox, charge: Charge) -> None:
    sandbox.control("charges", {"outcome": "send_otp"})
    data = charge().json()["data"]
    assert (data["status"], data["reference"]) == ("send_otp", "again")
    assert api.verify("again")["status"] == "abandoned"


@pytest.mark.parametrize(("then", "status"), [("success", "success"), ("failed", "failed")])
def test_a_pending_charge_ends_later_by_the_clock(
    api: Api, sandbox: RunningSandbox, charge: Charge, then: str, status: str
) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("charges", {"outcome": "pending", "then": then, "delay_ms": 60_000})
    assert charge().json()["data"]["status"] == "pending"
    sandbox.control("clock", {"advance_seconds": 59})
    assert api.verify("again")["status"] == "pending"
    sandbox.control("clock", {"advance_seconds": 1})
    assert api.verify("again")["status"] == status


def test_a_lost_answer_leaves_a_charge_that_verify_tells_of(api: Api, sandbox: RunningSandbox, charge: Charge) -> None:
    sandbox.control("faults", {"endpoint": "charge_authorization", "kind": "lost_answer", "times": 1})
    with pytest.raises(requests.ConnectionError):
        charge()
    assert api.verify("again")["status"] == "success"
    assert charge().json()["code"] == "duplicate_reference"


@pytest.mark.parametrize("path", ["/customer/authorization/deactivate", "/customer/deactivate_authorization"])
def test_a_deactivated_code_is_refused_and_listed_no_more_though_transactions_still_show_it(
    api: Api, saved: dict[str, Any], charge: Charge, path: str
) -> None:
    newer = charge(reference="before").json()["data"]["authorization"]
    answer = post(api, path, authorization_code=saved["authorization_code"])
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": True, "message": "Authorization has been deactivated"},
    )
    refused = charge()
    assert (refused.status_code, refused.json()["message"]) == (400, MISMATCH)
    assert api.verify("first")["authorization"] == saved
    assert api.ask("/customer/ama@example.com").json()["data"]["authorizations"] == [newer]
    assert charge(authorization_code=newer["authorization_code"]).json()["data"]["status"] == "success"


@pytest.mark.parametrize("code", [None, "AUTH_nothing", 7])
def test_an_unknown_code_cannot_be_deactivated(api: Api, code: Any) -> None:
    answer = post(api, "/customer/authorization/deactivate", authorization_code=code)
    assert (answer.status_code, answer.json()["message"]) == (404, "Authorization code not found.")


def debit(api: Api, saved: dict[str, Any], **wanted: Any) -> requests.Response:
    body = {"email": "ama@example.com", "amount": 50000, "currency": "NGN", "reference": "debit"}
    return post(
        api, "/transaction/partial_debit", **body | {"authorization_code": saved["authorization_code"]} | wanted
    )


@pytest.mark.parametrize(
    ("available", "at_least", "status", "amount"),
    [
        (20000, "20000", "success", 20000),
        (90000, 1, "success", 50000),
        (1, None, "success", 1),
        (19999, "20000", "failed", 50000),
        (0, None, "failed", 50000),
    ],
)
def test_a_partial_debit_takes_what_there_is_if_it_is_enough(
    api: Api,
    sandbox: RunningSandbox,
    saved: dict[str, Any],
    available: int,
    at_least: Any,
    status: str,
    amount: int,
) -> None:
    sandbox.control("charges", {"outcome": "insufficient_funds", "available": available})
    data = debit(api, saved, at_least=at_least).json()["data"]
    assert data.keys() == CHARGED_FIELDS | {"requested_amount"}
    assert (data["status"], data["amount"], data["requested_amount"]) == (status, amount, 50000)
    verified = api.verify("debit")
    assert (verified["status"], verified["amount"], verified["requested_amount"]) == (status, amount, 50000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"currency": "GHS"}, "Currency GHS is not supported for Partial Debit"),
        ({"currency": None}, "Currency is required"),
        ({"email": "nobody@example.com"}, "Customer not found"),
        ({"authorization_code": "AUTH_nothing"}, "Authorization code is invalid"),
        ({"at_least": "half"}, '"amount" must be a number'),
    ],
)
def test_a_refused_partial_debit_makes_no_transaction(
    api: Api, saved: dict[str, Any], wrong: dict[str, Any], message: str
) -> None:
    answer = debit(api, saved, **wrong)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert debit(api, saved).json()["data"]["status"] == "success"


def test_planned_and_pending_charges_survive_a_restart(tmp_path: Path) -> None:
    options = Options(seed=1, data=tmp_path / "book.json")
    body = {"email": "ama@example.com", "amount": 100}
    with running_sandbox(options) as sandbox:
        api = Api(sandbox.url, sandbox.secret_key)
        code = save(api, sandbox)["authorization_code"]
        sandbox.control("clock", {"freeze": True})
        sandbox.control("charges", {"outcome": "pending"})
        sandbox.control("charges", {"outcome": "declined"})
        post(api, "/transaction/charge_authorization", **body, authorization_code=code, reference="pending")
    with running_sandbox(options) as sandbox:
        api = Api(sandbox.url, sandbox.secret_key)
        answer = post(api, "/transaction/charge_authorization", **body, authorization_code=code, reference="declined")
        assert answer.json()["data"]["status"] == "failed"
        assert api.verify("pending")["status"] == "pending"
        sandbox.control("clock", {"advance_seconds": 5})
        assert api.verify("pending")["status"] == "success"


@pytest.mark.parametrize(
    "plan",
    [{}, {"outcome": "lost"}, {"outcome": "pending", "then": "later"}, {"outcome": "declined", "card": "1"}],
)
def test_a_plan_that_makes_no_sense_is_refused(sandbox: RunningSandbox, plan: dict[str, Any]) -> None:
    answer = requests.post(f"{sandbox.url}/_sandbox/charges", json=plan, timeout=10)
    assert answer.status_code == 400
    assert sandbox.control("charges")["charges"] == []
