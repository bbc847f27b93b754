"""Fees follow the published rates, to the subunit."""

from __future__ import annotations

import pytest

from sandbox.fees import Fees, fees_for


@pytest.mark.parametrize(
    ("amount", "currency", "channel", "total"),
    [
        (300_000, "NGN", "card", 14_500),
        (3_000_000, "NGN", "card", 55_000),
        (25_000, "NGN", "bank_transfer", 375),
        (249_999, "NGN", "card", 3_750),
        (100_000_000, "NGN", "card", 200_000),
        (10_000, "KES", "card", 290),
        (1_000, "KES", "bank_transfer", 15),
        (10_000, "GHS", "mobile_money", 195),
        (101, "GHS", "card", 2),
        (10_000, "USD", "card", 390),
        (10_000, "EUR", "card", 390),
    ],
)
def test_fees_match_recorded_payments(amount: int, currency: str, channel: str, total: int) -> None:
    assert fees_for(amount, currency, channel) == Fees(total, total)


def test_south_african_fees_carry_tax_in_the_total_only() -> None:
    assert fees_for(186_677, "ZAR", "qr") == Fees(total=6_342, before_tax=5_514)
