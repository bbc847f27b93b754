"""Money: an integer of a currency's subunit, with its currency; the two never travel apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Currency(StrEnum):
    """The currencies Paystack settles for the merchants Payfleet serves (ISO 4217)."""

    NGN = "NGN"
    GHS = "GHS"
    ZAR = "ZAR"
    KES = "KES"
    USD = "USD"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in subunits (kobo, pesewas, cents) and the currency it is counted in."""

    amount: int
    currency: Currency

    def __post_init__(self) -> None:
        """Refuse what is not a whole, positive number of subunits.

        Raises:
            ValueError: the amount is a bool, a float, zero or negative.

        """
        if type(self.amount) is not int or self.amount <= 0:
            message = f"an amount is a positive integer of subunits, not {self.amount!r}"
            raise ValueError(message)

    def __str__(self) -> str:
        """Show major units with two decimals, as all five currencies have."""
        return f"{self.currency} {self.amount // 100:,}.{self.amount % 100:02d}"
