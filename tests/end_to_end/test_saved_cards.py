"""A customer's card through real processes: saved with a payment, added by its code, charged again."""

import secrets
from typing import Any

from tests.end_to_end.fleet import CARD, Fleet, dump, wait_until


def test_a_card_is_saved_with_a_payment_and_added_again_is_the_same_method(fleet: Fleet) -> None:
    user, email = f"user_{secrets.token_hex(4)}", f"{secrets.token_hex(4)}@example.com"
    payment = fleet.post_payment(wait=20, userId=user, email=email, savePaymentMethod=True).json()["data"]
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get(f"/payment-methods/user/{user}")["paymentMethods"] != [], "the card was saved")
    saved = fleet.get(f"/payment-methods/user/{user}")
    (method,) = saved["paymentMethods"]
    assert (method["cardLast4"], method["isReusable"], method["isDefault"]) == ("4081", True, True), dump(saved)
    assert saved["defaultMethodId"] == method["paymentMethodId"]

    (transaction,) = fleet.get_book(payment["reference"])["transactions"]
    code = transaction["authorization"]["authorization_code"]
    body = {"userId": user, "authorizationCode": code, "email": email}
    added = fleet.post("/payment-methods", body, wait=20)
    assert added.status_code == 201, added.text
    assert added.json()["data"]["mergedInto"] == method["paymentMethodId"]

    wrong = fleet.post("/payment-methods", body | {"email": "nobody@example.com"}, wait=20)
    assert wrong.status_code == 422, wrong.text
    assert wrong.json()["error"]["code"] == "PAYSTACK_AUTHORIZATION_INVALID"


def test_a_saved_card_is_charged_while_its_client_waits(fleet: Fleet) -> None:
    user, email = f"user_{secrets.token_hex(4)}", f"{secrets.token_hex(4)}@example.com"
    payment = fleet.post_payment(wait=20, userId=user, email=email, savePaymentMethod=True).json()["data"]
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get(f"/payment-methods/user/{user}")["paymentMethods"] != [], "the card was saved")
    method = fleet.get(f"/payment-methods/user/{user}")["defaultMethodId"]

    def charge(**plan: str) -> dict[str, Any]:
        fleet.control("charges", email=email, **plan)
        order = {"userId": user, "orderId": secrets.token_hex(6), "amount": 90_000, "paymentMethodId": method}
        answer = fleet.post("/payments", order, wait=20)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    paid = charge(outcome="success")
    assert (paid["status"], paid["cardLast4"], paid["paymentMethodId"]) == ("success", "4081", method), dump(paid)
    declined = charge(outcome="insufficient_funds")
    assert (declined["status"], declined["failure"]["code"]) == ("failed", "INSUFFICIENT_FUNDS"), dump(declined)
    challenged = charge(outcome="challenged")
    assert challenged["nextAction"]["type"] == "open_url", dump(challenged)
    fleet.control(f"transactions/{challenged['reference']}/pay", card=CARD)
    fleet.wait_for_payment(challenged["paymentId"], "success")
