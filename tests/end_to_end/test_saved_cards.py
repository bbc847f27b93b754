"""A customer's card through real processes: saved with a payment, found again, added by its code."""

import secrets

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
