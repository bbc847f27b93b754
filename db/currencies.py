"""The currencies that are taken, and the smallest and largest amount of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.connection import Connection
    from domain.money import Currency

_GET = "SELECT min_amount, max_amount FROM supported_currencies WHERE code = %(code)s AND is_active"


@dataclass(frozen=True, slots=True)
class CurrencyLimits:
    """The bounds of one payment, inclusive, in subunits."""

    min_amount: int
    max_amount: int


def get_currency_limits(connection: Connection, currency: Currency) -> CurrencyLimits | None:
    """Read the limits of a currency; None when it is not taken."""
    row = connection.execute(_GET, {"code": currency}).fetchone()
    return None if row is None else CurrencyLimits(*row)
