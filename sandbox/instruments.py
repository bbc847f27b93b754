"""The authorization each way of paying leaves behind, in the shape Paystack gives it."""

from __future__ import annotations

from sandbox.book import Authorization, Book, Customer, signature_of
from sandbox.cards import EXPIRY_MONTH, EXPIRY_YEAR, TestCard
from sandbox.wire import JsonObject


def card_instrument(card: TestCard, *, month: str = EXPIRY_MONTH, year: str = EXPIRY_YEAR) -> JsonObject:
    """Describe a test card; the number is kept only for its signature."""
    return {
        "number": card.number,
        "channel": "card",
        "bin": card.number[:6],
        "last4": card.number[-4:],
        "exp_month": month,
        "exp_year": year,
        # Paystack's answers really carry this trailing blank.
        "card_type": f"{card.brand} ",
        "bank": "TEST BANK",
        "brand": card.brand,
        "reusable": True,
        "account_name": None,
    }


def account_instrument(channel: str, *, bank: str, account: str) -> JsonObject:
    """Describe a bank account, a mobile wallet, a USSD or QR payment: usable once, unsigned."""
    shown = account if account.isdigit() else "XXXX"
    return {
        "number": None,
        "channel": channel,
        "bin": f"{shown[:3]}XXX" if account.isdigit() else "XXXXXX",
        "last4": f"X{shown[-3:]}" if account.isdigit() else "XXXX",
        "exp_month": "12",
        "exp_year": "9999",
        "card_type": {"bank_transfer": "transfer", "ussd": "offline"}.get(channel, ""),
        "bank": bank,
        "brand": {
            "bank_transfer": "Managed Account",
            "ussd": "offline",
            "mobile_money": bank.capitalize(),
        }.get(channel, bank),
        "reusable": False,
        "account_name": None,
    }


def saved_instrument(authorization: Authorization) -> JsonObject:
    """Describe what a saved authorization pays with; its signature goes on to the next authorization."""
    return {**authorization.details, "number": None}


def authorization(book: Book, instrument: JsonObject, *, customer: Customer, country_code: str) -> JsonObject:
    """Make the authorization of one successful payment, with a code of its own."""
    number = instrument.get("number")
    result: JsonObject = {
        "authorization_code": book.new_code("AUTH_", 10),
        "bin": instrument.get("bin"),
        "last4": instrument.get("last4"),
        "exp_month": instrument.get("exp_month"),
        "exp_year": instrument.get("exp_year"),
        "channel": instrument.get("channel"),
        "card_type": instrument.get("card_type"),
        "bank": instrument.get("bank"),
        "country_code": country_code,
        "brand": instrument.get("brand"),
        "reusable": instrument.get("reusable"),
        "signature": signature_of(number) if isinstance(number, str) else instrument.get("signature"),
        "account_name": instrument.get("account_name"),
    }
    if instrument.get("channel") == "bank_transfer":
        result |= {
            "sender_country": country_code,
            "sender_bank": instrument.get("bank"),
            "sender_bank_account_number": "XXXXXXX553",
            "sender_name": "TEST SENDER",
            "narration": None,
            "receiver_bank_account_number": "0123456789",
            "receiver_bank": "Paystack-Titan (sandbox)",
        }
    book.add_authorization(Authorization(customer.id, result))
    return result
