"""Webhooks that never come, through real processes: whoever asks learns of the money, and in the end Payfleet asks."""

from typing import Any

import pytest

from tests.end_to_end.fleet import CARD, Fleet


@pytest.fixture
def deaf(fleet: Fleet) -> Fleet:
    """A fleet whose webhooks are all lost on the way."""
    fleet.control("settings", webhook_faults={"duplicate": 0, "reorder": 0, "drop": 1})
    return fleet


def payable(fleet: Fleet, **changes: str) -> dict[str, Any]:
    response = fleet.post_payment(wait=20, channels=["card"], **changes)
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


def test_when_nobody_asks_payfleet_does_once_the_customers_time_is_over(deaf: Fleet) -> None:
    paid, left = payable(deaf), payable(deaf)
    pay(deaf, paid)
    deaf.advance_clock(3600)
    deaf.wait_for_payment(paid["paymentId"], "success")
    deaf.wait_for_payment(left["paymentId"], "abandoned")
    again = deaf.post_payment(orderId=left["orderId"])
    assert again.status_code == 202, "its order may be paid anew"
