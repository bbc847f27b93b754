"""What Paystack would keep: its published local rates, rounded up to the subunit."""

from __future__ import annotations

from dataclasses import dataclass

# Amounts are in subunits (kobo, pesewas, cents); rates are in hundredths of a percent.
_NGN_FLAT, _NGN_WAIVED_UNDER, _NGN_CAP = 100_00, 2_500_00, 2_000_00
_ZAR_FLAT, _ZAR_WAIVED_UNDER, _ZAR_VAT_PERCENT = 1_00, 10_00, 15
_RATES: dict[str, int] = {"NGN": 150, "GHS": 195, "KES": 290, "ZAR": 290, "USD": 390, "XOF": 320}
_CHANNEL_RATES: dict[tuple[str, str], int] = {
    ("KES", "mobile_money"): 150,
    ("KES", "bank_transfer"): 150,
    ("ZAR", "eft"): 200,
    ("XOF", "mobile_money"): 195,
}


@dataclass(frozen=True, slots=True)
class Fees:
    """What is charged, and what of it is Paystack's own before tax; both in subunits."""

    total: int
    before_tax: int


def fees_for(amount: int, currency: str, channel: str) -> Fees:
    """Work out the fees of a payment of ``amount`` subunits; an unknown currency costs 3.9 %."""
    rate = _CHANNEL_RATES.get((currency, channel), _RATES.get(currency, 390))
    fee = _ceil_div(amount * rate, 100_00)
    if currency == "NGN":
        if amount >= _NGN_WAIVED_UNDER:
            fee += _NGN_FLAT
        fee = min(fee, _NGN_CAP)
    if currency == "ZAR":
        if channel != "eft" and amount >= _ZAR_WAIVED_UNDER:
            fee += _ZAR_FLAT
        return Fees(_ceil_div(fee * (100 + _ZAR_VAT_PERCENT), 100), fee)
    return Fees(fee, fee)


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
