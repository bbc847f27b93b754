"""What the endpoints under /charge answer: where the charge stands, and what the customer has to do next."""

from __future__ import annotations

from sandbox import shapes
from sandbox.answers import Answer, success, unsuccessful
from sandbox.book import Transaction
from sandbox.clock import iso
from sandbox.transactions import authorization_url
from sandbox.wire import JsonObject
from sandbox.world import World

ATTEMPTED = "Charge attempted"
_CHECKED = "Reference check successful"
# How long the account of a transfer is open unless the call says.
_ACCOUNT_OPEN_MS = 30 * 60_000
_ASKED: dict[str, JsonObject] = {
    "pin": {"status": "send_pin"},
    "otp": {"status": "send_otp", "display_text": "Please enter OTP (none will be sent to your phone)"},
    "phone": {"status": "send_phone", "display_text": "Kindly enter a mobile no (at least 10 digits)"},
    "address": {
        "status": "send_address",
        "display_text": "Please send details for address verification",
        "country_code": "CA",
    },
    "birthday": {"status": "send_birthday", "display_text": "Please enter your birthday"},
}


def attempted(world: World, transaction: Transaction, *, account_expires_at: str | None = None) -> Answer:
    """Answer a step of a charge. One that is dead is a 400 with data, save for mobile money, which is a 200."""
    if has_failed(transaction):
        data = _failed(transaction)
        return success(ATTEMPTED, data) if transaction.channel == "mobile_money" else unsuccessful(ATTEMPTED, data)
    if transaction.page.step == "waiting" and transaction.channel != "mobile_money" and not transaction.paid:
        return success(ATTEMPTED, _pending(transaction))
    if transaction.page.step in ("outside", "waiting"):
        return success(ATTEMPTED, _outside(world, transaction, account_expires_at))
    return success(ATTEMPTED, _standing(world, transaction))


def checked(world: World, transaction: Transaction) -> Answer:
    """Answer a check, which works whatever became of the charge."""
    if has_failed(transaction):
        return success(_CHECKED, _failed(transaction))
    if transaction.page.step == "waiting" and not transaction.paid:
        return success(_CHECKED, _pending(transaction))
    return success(ATTEMPTED, _standing(world, transaction))


def asked(transaction: Transaction) -> JsonObject:
    """Shape the data of a charge that waits for something only the customer knows."""
    return {"reference": transaction.reference, **_ASKED[transaction.page.step]}


def has_failed(transaction: Transaction) -> bool:
    """Tell whether a charge is dead: it takes a new one, with a new reference."""
    return not transaction.paid and (transaction.page.step == "ended" or transaction.status == "failed")


def _standing(world: World, transaction: Transaction) -> JsonObject:
    if transaction.paid:
        return shapes.verified(world.book, transaction)
    if transaction.page.step in _ASKED:
        return asked(transaction)
    return {"reference": transaction.reference, "status": "open_url", "url": authorization_url(world, transaction)}


def _pending(transaction: Transaction) -> JsonObject:
    return {"reference": transaction.reference, "status": "pending"}


def _failed(transaction: Transaction) -> JsonObject:
    return {"reference": transaction.reference, "status": "failed", "message": transaction.gateway_response}


def _outside(world: World, transaction: Transaction, account_expires_at: str | None) -> JsonObject:
    """Shape what the customer needs to pay elsewhere."""
    data: JsonObject = {"reference": transaction.reference, "status": "pay_offline"}
    match transaction.channel:
        case "ussd":
            code = f"*737*33*4*{transaction.id % 1_000_000:06}#"
            text = f"Please dial {code} on your mobile phone to complete the transaction"
            return {**data, "display_text": text, "ussd_code": code}
        case "qr":
            text = "Please scan the QR code to complete the transaction"
            return {**data, "display_text": text, "qr_code": f"sandbox:{transaction.access_code}"}
        case "bank_transfer":
            opened_until = iso(world.clock.now_ms() + _ACCOUNT_OPEN_MS)
            return {
                **data,
                "status": "pending_bank_transfer",
                "display_text": "Please make a transfer to the account specified",
                "account_name": world.settings.business_name,
                "account_number": "0123456789",
                "bank": {"slug": "titan-paystack", "name": "Paystack-Titan (sandbox)", "id": 629},
                "account_expires_at": account_expires_at or opened_until,
            }
        case _:
            return {**data, "display_text": "Please complete the authorization process on your mobile phone"}
