"""The checkout page leads each test instrument to its outcome, by plain forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher
from tests.customer import EXPIRY, Visitor

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api


@pytest.fixture
def visit(api: Api) -> Callable[..., Visitor]:
    def open_checkout(**wanted: Any) -> Visitor:
        url = api.initialize(**({"reference": "r"} | wanted)).json()["data"]["authorization_url"]
        return Visitor(url)

    return open_checkout


Visit = Callable[..., Visitor]


def outcome(api: Api, reference: str = "r") -> tuple[str, str]:
    data = api.verify(reference)
    return data["status"], data["gateway_response"]


@pytest.mark.parametrize(
    ("number", "cvv", "steps"),
    [
        ("4084 0840 8408 4081", "408", []),
        ("5078 5078 5078 5078 12", "081", [("pin", {"pin": "1111"})]),
        ("5060 6666 6666 6666 666", "123", [("pin", {"pin": "1234"}), ("otp", {"otp": "123456"})]),
        (
            "5078 5078 5078 5078 04",
            "884",
            [("pin", {"pin": "0000"}), ("phone", {"phone": "0801 234 5678"}), ("otp", {"otp": "123456"})],
        ),
        ("5192 6027 2058 4796", "123", [("bank_page", {"outcome": "success"})]),
        ("4084 0800 0067 1803", "180", []),
        ("4084 0800 0067 1902", "190", []),
    ],
)
def test_a_card_that_pays_needs_exactly_its_steps(
    api: Api,
    catcher: WebhookCatcher,
    visit: Visit,
    number: str,
    cvv: str,
    steps: list[tuple[str, dict[str, str]]],
) -> None:
    visitor = visit()
    visitor.card(number, cvv)
    for action, fields in steps:
        assert outcome(api)[0] == "abandoned"
        visitor.submit(action, **fields)
    assert "Payment successful" in visitor.text
    data = api.verify("r")
    assert (data["status"], data["gateway_response"], data["channel"]) == ("success", "Successful", "card")
    assert data["authorization"]["last4"] == number.replace(" ", "")[-4:]
    assert (data["authorization"]["exp_month"], data["authorization"]["exp_year"]) == ("12", "2030")
    assert data["authorization"]["reusable"] is True
    assert catcher.wait_for(1)[0].event["data"]["reference"] == "r"


@pytest.mark.parametrize(
    ("number", "cvv", "expiry", "reason"),
    [
        ("4084 0800 0000 5408", "001", EXPIRY, "Declined"),
        ("4084 0800 0067 0037", "787", EXPIRY, "Insufficient Funds"),
        ("5061 0202 8370 5678", "111", EXPIRY, "Insufficient Funds"),
        ("4111 1111 1111 1111", "111", EXPIRY, "Transaction declined. Please use the test card."),
        ("4084 0840 8408 4081", "999", EXPIRY, "Transaction declined. Please use the test card."),
        ("4084 0840 8408 4081", "408", "01/20", "Expired card"),
    ],
)
def test_a_first_decline_says_why_leaves_it_abandoned_and_may_be_retried(
    api: Api, visit: Visit, number: str, cvv: str, expiry: str, reason: str
) -> None:
    visitor = visit()
    visitor.card(number, cvv, expiry)
    assert reason in visitor.text
    assert outcome(api) == ("abandoned", reason)
    visitor.card("4084084084084081", "408")
    assert outcome(api) == ("success", "Successful")


@pytest.mark.parametrize(
    ("number", "cvv", "steps", "reason"),
    [
        ("5078 5078 5078 5078 12", "081", [("pin", {"pin": "9999"})], "Incorrect PIN"),
        ("5060 9905 8000 0217 403", "111", [("pin", {"pin": "0000"})], "Incorrect PIN"),
        (
            "5060 6666 6666 6666 666",
            "123",
            [("pin", {"pin": "1234"}), ("otp", {"otp": "000000"})],
            "Token Authorization Not Successful. Incorrect OTP",
        ),
        (
            "5078 5078 5078 5078 53",
            "082",
            [("pin", {"pin": "0000"})],
            "Token Not Generated. Customer Not Registered on Token Platform",
        ),
        (
            "5192 6027 2058 4796",
            "123",
            [("bank_page", {"outcome": "fail"})],
            "3DSecure authentication failed",
        ),
    ],
)
def test_a_failed_step_fails_the_payment_until_the_customer_tries_again(
    api: Api,
    visit: Visit,
    number: str,
    cvv: str,
    steps: list[tuple[str, dict[str, str]]],
    reason: str,
) -> None:
    visitor = visit()
    visitor.card(number, cvv)
    for action, fields in steps:
        visitor.submit(action, **fields)
    assert reason in visitor.text
    assert outcome(api) == ("failed", reason)
    visitor.card("4084084084084081", "408")
    assert outcome(api)[0] == "success"


def test_a_number_that_is_no_test_card_is_never_kept(
    sandbox: RunningSandbox, visit: Visit, capfd: pytest.CaptureFixture[str]
) -> None:
    visitor = visit()
    visitor.card("4242 4242 4242 4242", "111")
    assert "declined" in visitor.text
    assert "42424242" not in str(sandbox.control("book")).replace(" ", "")
    assert "42424242" not in "".join(capfd.readouterr()).replace(" ", "")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"number": "123", "expiry": EXPIRY, "cvv": "408"}, "Enter the number on the card"),
        ({"number": "4084084084084081", "expiry": "13/30", "cvv": "408"}, "Enter the expiry date"),
        ({"number": "4084084084084081", "expiry": EXPIRY, "cvv": "x"}, "Enter the 3 or 4 digits"),
    ],
)
def test_a_form_filled_wrongly_is_explained_and_is_no_attempt(
    api: Api, visit: Visit, fields: dict[str, str], problem: str
) -> None:
    visitor = visit()
    visitor.submit("card", **fields)
    assert visitor.page.status_code == 422
    assert problem in visitor.text
    assert fields["number"] in visitor.text
    assert api.verify("r")["log"]["attempts"] == 0


def test_the_log_tells_the_history_of_the_page(api: Api, sandbox: RunningSandbox, visit: Visit) -> None:
    sandbox.control("clock", {"freeze": True})
    visitor = visit()
    sandbox.control("clock", {"advance_seconds": 3})
    visitor.card("507850785078507812", "081")
    visitor.submit("pin", pin="0000")
    visitor.card("4084084084084081", "408")
    log = api.verify("r")["log"]
    assert (log["attempts"], log["errors"], log["success"], log["time_spent"]) == (2, 1, True, 3)
    assert [entry["type"] for entry in log["history"]] == [
        *("input", "action", "auth", "error"),
        *("input", "action", "success"),
    ]
    assert {entry["time"] for entry in log["history"]} == {3}
    assert api.get("/timeline/r").json()["data"] == log


def test_a_form_sent_twice_is_taken_once(api: Api, catcher: WebhookCatcher, visit: Visit) -> None:
    visitor = visit()
    first_page = visitor.page
    visitor.card("4084080000005408", "001")
    visitor.page = first_page
    visitor.card("4084080000005408", "001")
    assert api.verify("r")["log"]["attempts"] == 1
    visitor.open()
    before_payment = visitor.page
    visitor.card("4084084084084081", "408")
    visitor.page = before_payment
    visitor.card("4084084084084081", "408")
    assert "Already paid" in visitor.text
    assert len(catcher.wait_for(1)) == 1


def test_a_step_that_is_not_asked_for_changes_nothing(api: Api, visit: Visit) -> None:
    visitor = visit()
    for action in ("otp", "pin", "sent", "bank_page", "nonsense", ""):
        visitor.submit(action, otp="123456", pin="1111", outcome="success")
    visitor.submit("mobile_money", provider="mtn", phone="0551234987")
    assert outcome(api) == ("abandoned", "The transaction was not completed")


def test_a_channel_the_request_did_not_ask_for_cannot_be_used(api: Api, visit: Visit) -> None:
    visitor = visit(channels=["card"])
    visitor.submit("bank_transfer")
    assert outcome(api) == ("abandoned", "The transaction was not completed")


def test_a_cancel_action_that_is_no_web_address_is_not_followed(visit: Visit) -> None:
    visitor = visit(metadata={"cancel_action": "javascript:alert(1)"})
    visitor.submit("cancel")
    assert "Payment cancelled" in visitor.text
    assert "javascript:" not in visitor.text


def test_success_leads_back_to_the_merchant_with_both_references(visit: Visit) -> None:
    visitor = visit(callback_url="https://shop.example/back?cart=1#top")
    visitor.card("4084084084084081", "408")
    assert 'href="https://shop.example/back?cart=1&trxref=r&reference=r#top"' in visitor.text
    assert 'content="3;url=https://shop.example/back' in visitor.text
    visitor.open()
    assert "Already paid" in visitor.text
    assert "refresh" not in visitor.text


def test_a_callback_that_is_no_web_address_becomes_no_link(visit: Visit) -> None:
    visitor = visit(callback_url="javascript:alert(1)")
    visitor.card("4084084084084081", "408")
    assert "javascript:" not in visitor.text


def test_what_comes_from_outside_is_escaped(sandbox: RunningSandbox, visit: Visit) -> None:
    sandbox.control("settings", {"business_name": "<script>alert(1)</script>"})
    visitor = visit(label="<img src=x onerror=alert(2)>")
    assert "<script>alert" not in visitor.page.text
    assert "<img" not in visitor.page.text
    visitor.open("?channel=card&fill=<b>")
    assert "<b>" not in visitor.page.text


def test_text_that_utf_8_cannot_express_breaks_no_page(sandbox: RunningSandbox, visit: Visit) -> None:
    visitor = visit(label="\ud800", metadata={"cancel_action": "https://shop.example/\udfff"})
    assert visitor.page.status_code == 200
    assert ">?</span>" in visitor.page.text
    assert requests.get(f"{sandbox.url}/_sandbox/book", timeout=10).status_code == 200


def test_cancelling_goes_to_the_cancel_action(api: Api, visit: Visit) -> None:
    visitor = visit(metadata={"cancel_action": "https://shop.example/cancelled"})
    turn = re.search(r'name="turn" value="(\d+)"', visitor.page.text)
    assert turn
    form = {"action": "cancel", "turn": turn[1]}
    answer = visitor.session.post(visitor.url, data=form, allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (303, "https://shop.example/cancelled")
    assert outcome(api)[0] == "abandoned"


def test_a_cancelled_payment_can_be_taken_up_again(api: Api, visit: Visit) -> None:
    visitor = visit()
    visitor.submit("cancel")
    assert "Payment cancelled" in visitor.text
    visitor.submit("restart")
    visitor.card("4084084084084081", "408")
    assert outcome(api)[0] == "success"


def test_a_session_expires_on_the_sandboxes_clock(api: Api, sandbox: RunningSandbox, visit: Visit) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"session_timeout_seconds": 600})
    visitor = visit()
    sandbox.control("clock", {"advance_seconds": 599})
    visitor.open()
    assert "Pay NGN 2,500.00" in visitor.text
    sandbox.control("clock", {"advance_seconds": 1})
    visitor.card("4084084084084081", "408")
    assert visitor.page.status_code == 410
    assert "expired" in visitor.text
    assert outcome(api)[0] == "abandoned"


def test_an_unknown_checkout_is_a_404_page(sandbox: RunningSandbox) -> None:
    answer = requests.get(f"{sandbox.url}/checkout/nope", timeout=10)
    assert (answer.status_code, "No such checkout" in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("currency", "wanted", "shown"),
    [
        ("NGN", None, ["card", "bank_transfer", "bank", "ussd"]),
        ("GHS", None, ["card", "mobile_money", "bank_transfer"]),
        ("ZAR", None, ["card", "eft", "qr"]),
        ("NGN", ["ussd", "card"], ["card", "ussd"]),
        ("USD", None, []),
    ],
)
def test_the_page_offers_what_currency_and_request_allow(
    visit: Visit, currency: str, wanted: list[str] | None, shown: list[str]
) -> None:
    visitor = visit(currency=currency, **({} if wanted is None else {"channels": wanted}))
    tabs = re.findall(r'<a href="\?channel=(\w+)"', visitor.page.text)
    assert tabs == shown


@pytest.mark.parametrize(
    ("currency", "action", "fields", "channel", "response"),
    [
        ("NGN", "bank_transfer", {}, "bank_transfer", "Approved"),
        ("NGN", "ussd", {"bank": "737"}, "ussd", "Payment successful"),
        ("ZAR", "qr", {}, "qr", "Payment successful"),
    ],
)
def test_money_sent_outside_the_page_arrives_after_a_while(
    api: Api,
    sandbox: RunningSandbox,
    catcher: WebhookCatcher,
    visit: Visit,
    currency: str,
    action: str,
    fields: dict[str, str],
    channel: str,
    response: str,
) -> None:
    sandbox.control("clock", {"freeze": True})
    visitor = visit(currency=currency)
    visitor.submit(action, **fields)
    assert outcome(api)[0] == "ongoing"
    visitor.submit("sent")
    assert "Waiting for your payment" in visitor.text
    assert outcome(api)[0] == "ongoing"
    sandbox.control("clock", {"advance_seconds": 5})
    visitor.open()
    assert "Payment successful" in visitor.text
    data = api.verify("r")
    assert (data["status"], data["channel"], data["gateway_response"]) == ("success", channel, response)
    assert (data["message"], data["authorization"]["reusable"]) == ("madePayment", False)
    assert data["authorization"]["signature"] is None
    assert catcher.wait_for(1)[0].event["data"]["channel"] == channel


def test_another_way_to_pay_can_be_chosen_before_the_money_is_sent(api: Api, visit: Visit) -> None:
    visitor = visit()
    visitor.submit("bank_transfer")
    visitor.submit("restart")
    assert outcome(api) == ("abandoned", "The transaction was not completed")
    visitor.card("4084084084084081", "408")
    assert outcome(api)[0] == "success"


def test_a_bank_account_asks_for_birthday_and_otp(api: Api, visit: Visit) -> None:
    visitor = visit()
    visitor.submit("bank", account="0000000000")
    visitor.submit("birthday", birthday="soon")
    assert "Enter the date of birth." in visitor.text
    visitor.submit("birthday", birthday="1990-01-02")
    visitor.submit("otp", otp="123456")
    data = api.verify("r")
    assert (data["status"], data["channel"], data["authorization"]["bank"]) == (
        "success",
        "bank",
        "Zenith Bank",
    )


@pytest.mark.parametrize("account", ["1012204936", "1012204935"])
def test_eft_goes_by_the_banks_page(api: Api, visit: Visit, account: str) -> None:
    visitor = visit(currency="ZAR")
    visitor.submit("eft", account=account)
    visitor.submit("bank_page", outcome="success")
    assert (outcome(api)[0], api.verify("r")["channel"]) == ("success", "eft")


@pytest.mark.parametrize("phone", ["0551234987", "+233 55 123 4987", "233551234987"])
def test_ghanaian_mobile_money_succeeds_at_once(api: Api, visit: Visit, phone: str) -> None:
    visitor = visit(currency="GHS")
    visitor.submit("mobile_money", provider="mtn", phone=phone)
    data = api.verify("r")
    assert (data["status"], data["channel"]) == ("success", "mobile_money")
    authorization = data["authorization"]
    assert (authorization["bin"], authorization["last4"]) == ("055XXX", "X987")
    assert (authorization["brand"], authorization["bank"]) == ("Mtn mobile money", "MTN Mobile Money")


def test_m_pesa_waits_for_the_phone(api: Api, sandbox: RunningSandbox, visit: Visit) -> None:
    sandbox.control("clock", {"freeze": True})
    visitor = visit(currency="KES")
    visitor.submit("mobile_money", provider="mpesa", phone="+254 710 000 000")
    assert outcome(api)[0] == "ongoing"
    sandbox.control("clock", {"advance_seconds": 5})
    assert outcome(api)[0] == "success"


def test_another_mobile_money_number_fails(api: Api, visit: Visit) -> None:
    visitor = visit(currency="GHS")
    visitor.submit("mobile_money", provider="mtn", phone="0551234")
    assert outcome(api)[0] == "failed"
    assert "Payment not completed" in visitor.text


def test_the_pages_state_can_be_polled(sandbox: RunningSandbox, visit: Visit) -> None:
    sandbox.control("clock", {"freeze": True})
    visitor = visit()
    visitor.submit("bank_transfer")
    visitor.submit("sent")
    assert requests.get(f"{visitor.url}/state", timeout=10).json() == {"status": "ongoing", "step": "waiting"}
    assert requests.get(f"{visitor.url}x/state", timeout=10).status_code == 404
