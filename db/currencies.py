"""The currencies that are taken, and the smallest and largest amount of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.money import Currency

if TYPE_CHECKING:
    from db.connection import Connection

_GET = "SELECT min_amount, max_amount FROM supported_currencies WHERE code = %(code)s AND is_active"

# A currency that only the table knows is one this release cannot take.
_GET_ACTIVE = """
SELECT code, name, symbol, subunit, min_amount, max_amount FROM supported_currencies
WHERE is_active AND code = ANY(%(known)s) ORDER BY code
"""


@dataclass(frozen=True, slots=True)
class CurrencyLimits:
    """The bounds of one payment, inclusive, in subunits."""

    min_amount: int
    max_amount: int


def get_currency_limits(connection: Connection, currency: Currency) -> CurrencyLimits | None:
    """Read the limits of a currency; None when it is not taken."""
    row = connection.execute(_GET, {"code": currency}).fetchone()
    return None if row is None else CurrencyLimits(*row)


@dataclass(frozen=True, slots=True)
class CurrencyDetails:
    """A currency as a shop shows it."""

    code: Currency
    name: str
    symbol: str
    subunit: str
    limits: CurrencyLimits


def get_active_currencies(connection: Connection) -> list[CurrencyDetails]:
    """Read the currencies that are taken."""
    rows = connection.execute(_GET_ACTIVE, {"known": [currency.value for currency in Currency]}).fetchall()
    return [
        CurrencyDetails(Currency(code), name, symbol, subunit, CurrencyLimits(min_amount, max_amount))
        for code, name, symbol, subunit, min_amount, max_amount in rows
    ]
