"""A charge without the checkout page asks for the same steps, and is dead after a decline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.cards import UNKNOWN_CARD
from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox
from sandbox.world import Options
from tests.customer import Visitor
from tests.sandbox.conftest import Api

FAILING_PIN = {"number": "507850785078507853", "cvv": "082"}
PIN_CARD = {"number": "507850785078507812", "cvv": "081"}
OTP_CARD = {"number": "5060666666666666666", "cvv": "123"}
PHONE_CARD = {"number": "507850785078507804", "cvv": "884"}
BANK_PAGE_CARD = {"number": "5192602720584796", "cvv": "123"}
PLAIN_CARD = {"number": "4084084084084081", "cvv": "408"}


def post(api: Api, path: str, **body: Any) -> requests.Response:
    return api.session.post(f"{api.url}/charge{path}", json=body, timeout=10)


def charge(api: Api, **wanted: Any) -> requests.Response:
    if "card" in wanted:
        wanted["card"] = {"expiry_month": "12", "expiry_year": "2030"} | wanted["card"]
    return post(api, "", **{"email": "ama@example.com", "amount": 250000, "reference": "c"} | wanted)


def submit(api: Api, step: str, value: Any, reference: str = "c") -> requests.Response:
    return post(api, f"/submit_{step}", **{step: value, "reference": reference})


def check(api: Api, reference: str = "c") -> dict[str, Any]:
    answer = api.ask(f"/charge/{reference}")
    assert (answer.status_code, answer.json()["status"]) == (200, True)
    return answer.json()["data"]


def status_of(answer: requests.Response) -> str:
    assert (answer.status_code, answer.json()["status"]) == (200, True), answer.text
    return answer.json()["data"]["status"]


@pytest.mark.parametrize(
    ("card", "steps"),
    [
        (PLAIN_CARD, []),
        (PIN_CARD, [("pin", "1111")]),
        (OTP_CARD, [("pin", "1234"), ("otp", "123456")]),
        (PHONE_CARD, [("pin", "0000"), ("phone", "08012345678"), ("otp", "123456")]),
    ],
)
def test_a_card_is_asked_for_exactly_its_steps(
    api: Api, catcher: WebhookCatcher, card: dict[str, str], steps: list[tuple[str, str]]
) -> None:
    answer = charge(api, card=card)
    for step, value in steps:
        assert status_of(answer) == f"send_{step}"
        assert check(api) == answer.json()["data"]
        assert api.verify("c")["status"] == "abandoned"
        answer = submit(api, step, value)
    assert status_of(answer) == "success"
    assert answer.json()["data"] == api.verify("c") == check(api)
    assert answer.json()["data"]["authorization"]["reusable"] is True
    assert catcher.wait_for(1)[0].event["data"]["source"]["entry_point"] == "charge"


def test_a_pin_may_come_with_the_card(api: Api) -> None:
    assert status_of(charge(api, card=PIN_CARD, pin="1111")) == "success"


def test_three_d_secure_goes_by_the_banks_page(api: Api) -> None:
    data = charge(api, card=BANK_PAGE_CARD).json()["data"]
    assert data == check(api)
    assert data["status"] == "open_url"
    visitor = Visitor(data["url"])
    assert "Choose another way to pay" not in visitor.text
    visitor.submit("bank_page", outcome="success")
    assert "Payment successful" in visitor.text
    assert check(api)["status"] == "success"


@pytest.mark.parametrize(
    ("card", "steps", "message", "status"),
    [
        ({"number": "4084080000005408", "cvv": "001"}, [], "Declined", "abandoned"),
        ({"number": "4084080000670037", "cvv": "787"}, [], "Insufficient Funds", "abandoned"),
        (
            {"number": "4242424242424242", "cvv": "123"},
            [],
            UNKNOWN_CARD,
            "abandoned",
        ),
        (PLAIN_CARD | {"expiry_year": "2020"}, [], "Expired card", "abandoned"),
        (PIN_CARD, [("pin", "9999")], "Incorrect PIN", "failed"),
        (
            OTP_CARD,
            [("pin", "1234"), ("otp", "000000")],
            "Token Authorization Not Successful. Incorrect OTP",
            "failed",
        ),
        (FAILING_PIN, [("pin", "0000")], "Token Not Generated. Customer Not Registered on Token Platform", "failed"),
    ],
)
def test_a_decline_is_a_400_with_data_and_kills_the_charge(
    api: Api, catcher: WebhookCatcher, card: dict[str, str], steps: list[tuple[str, str]], message: str, status: str
) -> None:
    answer = charge(api, card=card)
    for step, value in steps:
        answer = submit(api, step, value)
    failed = {"reference": "c", "status": "failed", "message": message}
    assert (answer.status_code, answer.json()) == (
        400,
        {"status": False, "message": "Charge attempted", "data": failed},
    )
    assert check(api) == failed
    assert (api.verify("c")["status"], api.verify("c")["gateway_response"]) == (status, message)
    for step, value in (("pin", "1111"), ("otp", "123456")):
        assert submit(api, step, value).json()["message"] == "Transaction reference is invalid"
    assert charge(api, card=PLAIN_CARD).json()["code"] == "duplicate_reference"
    assert status_of(charge(api, card=PLAIN_CARD, reference="d")) == "success"
    assert [caught.event["data"]["reference"] for caught in catcher.wait_for(1)] == ["d"]


def test_a_charge_that_failed_on_the_banks_page_cannot_be_paid_another_way(api: Api, sandbox: RunningSandbox) -> None:
    visitor = Visitor(charge(api, card=BANK_PAGE_CARD).json()["data"]["url"])
    visitor.submit("bank_page", outcome="fail")
    assert "Payment not completed" in visitor.text
    form = PLAIN_CARD | {"action": "card", "expiry": "12 / 30"}
    requests.post(visitor.url, data=form, timeout=10)
    assert check(api) == {"reference": "c", "status": "failed", "message": "3DSecure authentication failed"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"email": None}, "Email address is required for association with card"),
        ({"amount": 0}, "Invalid Amount Sent"),
        ({"card": None}, "One of Authorization code, card object, bank object, ussd object, mobile money object, qr"),
        ({"card": PLAIN_CARD | {"number": 4084084084084081}}, "Enter the number on the card"),
        ({"card": PLAIN_CARD | {"expiry_month": "13"}}, "Enter the expiry date"),
        ({"card": None, "authorization_code": "AUTH_nothing"}, "Authorization code is invalid"),
        ({"card": None, "mobile_money": {"provider": "mtn", "phone": "0551234987"}}, "No active channel"),
        ({"card": None, "ussd": {"type": "111"}}, "Choose a bank"),
    ],
)
def test_a_refused_charge_makes_no_transaction(api: Api, wrong: dict[str, Any], message: str) -> None:
    body = {"card": PLAIN_CARD} | wrong
    if body["card"] is None:
        del body["card"]
    answer = charge(api, **body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)
    assert "data" not in answer.json()
    assert api.get("/verify/c").json()["code"] == "transaction_not_found"


@pytest.mark.parametrize("step", ["pin", "otp", "phone", "birthday"])
def test_what_no_charge_waits_for_is_refused(api: Api, step: str) -> None:
    api.initialize(reference="page")
    charge(api, card=PLAIN_CARD)
    for reference in ("none", "page", "c"):
        answer = submit(api, step, "1234", reference)
        assert (answer.status_code, answer.json()["message"]) == (400, "Transaction reference is invalid")
    assert api.ask("/charge/page").json()["message"] == "Transaction reference is invalid"


@pytest.mark.parametrize("pin", ["", "12", 1111, None])
def test_a_pin_that_is_none_is_explained_and_the_charge_lives_on(api: Api, pin: Any) -> None:
    charge(api, card=PIN_CARD)
    answer = submit(api, "pin", pin)
    assert (answer.status_code, answer.json()["message"]) == (400, "Enter the 4 digits of the PIN.")
    assert status_of(submit(api, "pin", "1111")) == "success"


def test_a_bank_account_asks_for_birthday_and_otp(api: Api) -> None:
    bank = {"code": "057", "account_number": "0000000000"}
    assert status_of(charge(api, bank=bank)) == "send_birthday"
    assert status_of(submit(api, "birthday", "1990-05-17")) == "send_otp"
    data = submit(api, "otp", "123456").json()["data"]
    assert (data["status"], data["channel"]) == ("success", "bank")
    assert status_of(charge(api, bank=bank, birthday="1990-05-17", reference="d")) == "send_otp"


def test_ghanaian_mobile_money_succeeds_at_once_and_a_wrong_number_fails_with_a_200(api: Api) -> None:
    for reference, phone, status in (("a", "0551234987", "success"), ("b", "0551234", "failed")):
        wallet = {"provider": "mtn", "phone": phone}
        assert status_of(charge(api, mobile_money=wallet, currency="GHS", reference=reference)) == status


@pytest.mark.parametrize(
    ("instrument", "currency", "status", "keys"),
    [
        ({"ussd": {"type": "737"}}, "NGN", "pay_offline", {"display_text", "ussd_code"}),
        ({"qr": {"provider": "scan-to-pay"}}, "ZAR", "pay_offline", {"display_text", "qr_code"}),
        ({"mobile_money": {"provider": "mpesa", "phone": "+254710000000"}}, "KES", "pay_offline", {"display_text"}),
        (
            {"bank_transfer": {"account_expires_at": "2030-01-01T00:00:00Z"}},
            "NGN",
            "pending_bank_transfer",
            {"display_text", "account_name", "account_number", "bank", "account_expires_at"},
        ),
    ],
)
def test_money_sent_elsewhere_arrives_after_a_while(
    api: Api, sandbox: RunningSandbox, instrument: dict[str, Any], currency: str, status: str, keys: set[str]
) -> None:
    sandbox.control("clock", {"freeze": True})
    answer = charge(api, currency=currency, **instrument)
    assert status_of(answer) == status
    assert answer.json()["data"].keys() == keys | {"reference", "status"}
    sandbox.control("clock", {"advance_seconds": 4})
    assert check(api) == {"reference": "c", "status": "pending"}
    sandbox.control("clock", {"advance_seconds": 1})
    assert check(api)["channel"] == next(iter(instrument))


@pytest.mark.parametrize(("account", "status"), [("1012204936", "success"), ("1234567", "failed")])
def test_eft_goes_by_a_page_where_the_customer_names_the_account(api: Api, account: str, status: str) -> None:
    data = charge(api, eft={"provider": "ozow"}, currency="ZAR").json()["data"]
    assert data["status"] == check(api)["status"] == "open_url"
    visitor = Visitor(data["url"])
    visitor.submit("card", **PLAIN_CARD, expiry="12 / 30")
    assert check(api) == data, "another way to pay than the one that was charged"
    visitor.open()
    visitor.submit("eft", account=account)
    if status == "success":
        visitor.submit("bank_page", outcome="success")
    assert check(api)["status"] == status


def test_a_saved_card_is_charged_as_planned(api: Api, sandbox: RunningSandbox) -> None:
    code = charge(api, card=PLAIN_CARD, reference="first").json()["data"]["authorization"]["authorization_code"]
    for reference, plan in (("a", "success"), ("b", "send_otp"), ("c", "pending"), ("d", "challenged")):
        sandbox.control("charges", {"outcome": plan, "delay_ms": 60_000})
        answered = status_of(charge(api, authorization_code=code, reference=reference))
        assert answered == {"challenged": "open_url"}.get(plan, plan)
    assert status_of(submit(api, "otp", "123456", "b")) == "success"
    assert check(api)["status"] == "pending"
    sandbox.control("charges", {"outcome": "declined"})
    answer = charge(api, authorization_code=code, reference="e")
    assert (answer.status_code, answer.json()["data"]["message"]) == (400, "Declined")


def test_a_pending_charge_was_attempted_and_only_its_check_is_a_check(api: Api, sandbox: RunningSandbox) -> None:
    code = charge(api, card=PLAIN_CARD, reference="first").json()["data"]["authorization"]["authorization_code"]
    sandbox.control("charges", {"outcome": "pending", "delay_ms": 60_000})
    made, checked = charge(api, authorization_code=code).json(), api.ask("/charge/c").json()
    assert (made["message"], checked["message"]) == ("Charge attempted", "Reference check successful")
    assert made["data"] == checked["data"] == {"reference": "c", "status": "pending"}


@pytest.mark.parametrize(("otp", "status"), [("123456", "success"), ("000000", "failed")])
def test_the_password_of_a_charge_authorization_is_submitted_here(
    api: Api, sandbox: RunningSandbox, otp: str, status: str
) -> None:
    code = charge(api, card=PLAIN_CARD).json()["data"]["authorization"]["authorization_code"]
    sandbox.control("charges", {"outcome": "send_otp"})
    body = {"email": "ama@example.com", "amount": 100, "authorization_code": code, "reference": "again"}
    api.session.post(f"{api.url}/transaction/charge_authorization", json=body, timeout=10)
    assert check(api, "again")["status"] == "send_otp"
    submit(api, "otp", otp, "again")
    assert check(api, "again")["status"] == api.verify("again")["status"] == status


def test_a_charge_that_was_declined_by_hand_takes_no_pin_any_more(api: Api, sandbox: RunningSandbox) -> None:
    charge(api, card=PIN_CARD)
    sandbox.control("transactions/c/pay", {"outcome": "failed", "gateway_response": "Lost card"})
    assert submit(api, "pin", "1111").json()["message"] == "Transaction reference is invalid"
    assert check(api) == {"reference": "c", "status": "failed", "message": "Lost card"}


def test_a_charge_under_way_survives_a_restart(tmp_path: Path) -> None:
    options = Options(data=tmp_path / "book.json")
    with running_sandbox(options) as sandbox:
        api = Api(sandbox.url, sandbox.secret_key)
        assert status_of(charge(api, card=OTP_CARD, pin="1234")) == "send_otp"
    with running_sandbox(options) as sandbox:
        api = Api(sandbox.url, sandbox.secret_key)
        assert submit(api, "otp", "000000").status_code == 400
        assert check(api)["status"] == "failed"


def test_a_lost_answer_leaves_a_charge_that_can_be_checked(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "charge", "kind": "lost_answer", "times": 1})
    with pytest.raises(requests.ConnectionError):
        charge(api, card=PIN_CARD)
    assert check(api)["status"] == "send_pin"
