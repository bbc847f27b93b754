"""Webhooks that never come, through real processes: whoever asks learns of the money, and in the end Payfleet asks."""

from typing import Any

import pytest

from tests.customer import Visitor
from tests.end_to_end.fleet import CARD, Fleet


@pytest.fixture
def deaf(fleet: Fleet) -> Fleet:
    """A fleet whose webhooks are all lost on the way."""
    fleet.control("settings", webhook_faults={"duplicate": 0, "reorder": 0, "drop": 1})
    return fleet


def payable(fleet: Fleet, channel: str = "card", **changes: str) -> dict[str, Any]:
    response = fleet.post_payment(wait=20, channels=[channel], **changes)
    assert response.status_code == 201, response.text
    return response.json()["data"]


def pay(fleet: Fleet, payment: dict[str, Any]) -> None:
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)


def test_a_backend_that_asks_learns_that_the_customer_has_paid(deaf: Fleet) -> None:
    payment = payable(deaf)
    asked = deaf.post("/payments/verify", {"reference": payment["reference"]}, wait=20)
    assert (asked.status_code, asked.json()["data"]["status"]) == (200, "pending"), asked.text
    pay(deaf, payment)
    asked = deaf.post("/payments/verify", {"reference": payment["reference"]}, wait=20)
    assert (asked.status_code, asked.json()["data"]["status"]) == (200, "success"), asked.text


def test_a_customer_who_comes_back_is_sent_on_with_the_news(deaf: Fleet) -> None:
    payment = payable(deaf, callbackUrl="http://shop.example/thanks")
    pay(deaf, payment)
    answer = deaf.session.get(
        f"{deaf.web_url}/payments/callback",
        params={"trxref": payment["reference"], "reference": payment["reference"]},
        allow_redirects=False,
        timeout=20,
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"http://shop.example/thanks?paymentId={payment['paymentId']}")
    assert answer.headers["Location"].endswith("status=success")


def test_when_nobody_asks_payfleet_does_soon_for_a_card_and_in_hours_for_a_transfer(deaf: Fleet) -> None:
    paid, left, transfer = payable(deaf), payable(deaf), payable(deaf, "bank_transfer")
    pay(deaf, paid)
    deaf.advance_clock(5 * 60)
    deaf.wait_for_payment(paid["paymentId"], "success")
    assert deaf.get_payment(left["paymentId"])["status"] == "pending"

    visitor = Visitor(transfer["authorizationUrl"])
    visitor.submit("bank_transfer")
    visitor.submit("sent")
    deaf.control("clock", advance_seconds=10)  # the money arrives
    deaf.advance_clock(5 * 3600)
    deaf.wait_for_payment(transfer["paymentId"], "success")
    deaf.wait_for_payment(left["paymentId"], "abandoned")
    again = deaf.post_payment(orderId=left["orderId"])
    assert again.status_code == 202, "its order may be paid anew"
