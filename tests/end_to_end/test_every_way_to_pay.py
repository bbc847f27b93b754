"""Every currency by every channel: paid by a customer at the page, told by webhook, verified, refunded in two parts."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.customer import Visitor
from tests.end_to_end.fleet import Fleet, wait_until

Pay = Callable[[Visitor], None]


def by_card(visitor: Visitor) -> None:
    visitor.card("4084084084084081", "408")


def by_card_with_pin_and_otp(visitor: Visitor) -> None:
    visitor.card("5060666666666666666", "123")
    visitor.submit("pin", pin="1234")
    visitor.submit("otp", otp="123456")


def by_bank(visitor: Visitor) -> None:
    visitor.submit("bank", account="0000000000")
    visitor.submit("birthday", birthday="1990-01-02")
    visitor.submit("otp", otp="123456")


def by_eft(visitor: Visitor) -> None:
    """Paystack's test account for this way to pay, to which no money can go back."""
    visitor.submit("eft", account="1012204936")
    visitor.submit("bank_page", outcome="success")


def by_mobile_money(provider: str, phone: str) -> Pay:
    return lambda visitor: visitor.submit("mobile_money", provider=provider, phone=phone)


def outside(action: str, **fields: str) -> Pay:
    """Money the customer sends outside the page; the page is told that it was sent."""

    def pay(visitor: Visitor) -> None:
        visitor.submit(action, **fields)
        visitor.submit("sent")

    return pay


WAYS: list[tuple[str, str, Pay]] = [
    ("NGN", "card", by_card),
    ("NGN", "card", by_card_with_pin_and_otp),
    ("NGN", "bank", by_bank),
    ("NGN", "ussd", outside("ussd", bank="737")),
    ("NGN", "bank_transfer", outside("bank_transfer")),
    ("GHS", "card", by_card),
    ("GHS", "mobile_money", by_mobile_money("mtn", "0551234987")),
    ("GHS", "bank_transfer", outside("bank_transfer")),
    ("KES", "card", by_card),
    ("KES", "mobile_money", by_mobile_money("mpesa", "+254710000000")),
    ("KES", "bank_transfer", outside("bank_transfer")),
    ("ZAR", "card", by_card),
    ("ZAR", "eft", by_eft),
    ("ZAR", "qr", outside("qr")),
    ("USD", "card", by_card),
]


@pytest.mark.parametrize(("currency", "channel", "pay"), WAYS, ids=[f"{w[0]}-{w[1]}-{i}" for i, w in enumerate(WAYS)])
def test_a_payment_is_paid_told_verified_and_refunded(fleet: Fleet, currency: str, channel: str, pay: Pay) -> None:
    response = fleet.post_payment(wait=20, currency=currency, channels=[channel], amount=90_000)
    assert response.status_code == 201, response.text
    payment = response.json()["data"]
    pay(Visitor(payment["authorizationUrl"]))
    fleet.control("clock", advance_seconds=10)  # what was sent outside the page arrives
    paid = fleet.wait_for_payment(payment["paymentId"], "success")
    assert (paid["amount"], paid["currency"], paid["channel"]) == (90_000, currency, channel)

    verified = fleet.get("/payments/verify", reference=payment["reference"])
    assert (verified["status"], verified["amount"], verified["channel"]) == ("success", 90_000, channel)

    if pay is by_eft:
        refund(fleet, payment["paymentId"], 30_000, "failed", then="success")
        assert fleet.get_payment(payment["paymentId"])["refundableAmount"] == 90_000
        assert refunded_in_the_book(fleet, payment["reference"]) == 0
    else:
        refund(fleet, payment["paymentId"], 30_000, "success", then="partially_refunded")
        refund(fleet, payment["paymentId"], None, "success", then="refunded")
        listed = fleet.get(f"/payments/{payment['paymentId']}/refunds")["refunds"]
        assert sorted(one["amount"] for one in listed) == [30_000, 60_000]
        assert refunded_in_the_book(fleet, payment["reference"]) == 90_000


def refund(fleet: Fleet, payment_id: str, amount: int | None, outcome: str, *, then: str) -> None:
    body = {"reason": "test"} | ({} if amount is None else {"amount": amount})
    response = fleet.post(f"/payments/{payment_id}/refund", body, wait=20)
    assert response.status_code == 201, response.text
    refund_id = response.json()["data"]["refundId"]

    def is_done() -> bool:
        fleet.control("clock", advance_seconds=60)  # Paystack and its bank take their time
        return fleet.get(f"/refunds/{refund_id}")["status"] == outcome

    wait_until(is_done, f"the refund ended in {outcome}")
    assert fleet.get(f"/payments/{payment_id}")["status"] == then


def refunded_in_the_book(fleet: Fleet, reference: str) -> int:
    """What the sandbox, on its own account, has given back of a transaction."""
    (transaction,) = fleet.get_book(reference)["transactions"]
    return transaction["refunded"]


@pytest.mark.parametrize("currency", ["NGN", "GHS", "KES", "ZAR", "USD"])
def test_a_saved_card_is_charged_without_its_customer(fleet: Fleet, currency: str) -> None:
    user = f"user_saves_{currency}"
    first = fleet.post_payment(wait=20, currency=currency, userId=user, savePaymentMethod=True).json()["data"]
    by_card(Visitor(first["authorizationUrl"]))
    fleet.wait_for_payment(first["paymentId"], "success")

    saved = fleet.get(f"/payment-methods/user/{user}")
    (method,) = saved["paymentMethods"]
    assert (method["cardLast4"], method["isDefault"], saved["defaultMethodId"]) == (
        "4081",
        True,
        method["paymentMethodId"],
    )
    body: dict[str, Any] = {
        "userId": user,
        "orderId": f"again_{currency}",
        "amount": 40_000,
        "currency": currency,
        "paymentMethodId": method["paymentMethodId"],
    }
    response = fleet.post("/payments", body, wait=20)
    assert response.status_code == 201, response.text
    charged = response.json()["data"]
    assert (charged["status"], charged["cardLast4"], charged["authorizationUrl"]) == ("success", "4081", None)
    assert len(fleet.get(f"/payment-methods/user/{user}")["paymentMethods"]) == 1, "the card is kept once"
