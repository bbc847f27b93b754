"""Which ways to pay exist for a currency, and which of them the checkout page can play."""

from __future__ import annotations

from collections.abc import Sequence

# In the order the page shows them. Which of these an account really has is per merchant at Paystack.
_BY_CURRENCY: dict[str, tuple[str, ...]] = {
    "NGN": ("card", "bank_transfer", "bank", "ussd", "apple_pay", "payattitude"),
    "GHS": ("card", "mobile_money", "bank_transfer"),
    "KES": ("card", "mobile_money", "bank_transfer", "apple_pay"),
    "ZAR": ("card", "eft", "qr", "capitec_pay", "apple_pay"),
    "USD": ("card",),
    "XOF": ("mobile_money", "card"),
}
_COUNTRIES = {"NGN": "NG", "GHS": "GH", "KES": "KE", "ZAR": "ZA", "USD": "US", "XOF": "CI"}

KNOWN = frozenset(channel for channels in _BY_CURRENCY.values() for channel in channels)
LABELS = {
    "card": "Card",
    "bank": "Bank",
    "bank_transfer": "Transfer",
    "ussd": "USSD",
    "mobile_money": "Mobile money",
    "qr": "QR",
    "eft": "EFT",
}


def offered(currency: str, wanted: Sequence[str]) -> list[str]:
    """List the currency's channels that the merchant asked for; asking for none means all of them."""
    return [channel for channel in _BY_CURRENCY.get(currency, ("card",)) if not wanted or channel in wanted]


def playable(currency: str, wanted: Sequence[str]) -> list[str]:
    """List the offered channels the checkout page has steps for."""
    return [channel for channel in offered(currency, wanted) if channel in LABELS]


def country(currency: str) -> str:
    """Return the country code Paystack would show beside a payment in this currency."""
    return _COUNTRIES.get(currency, "NG")
