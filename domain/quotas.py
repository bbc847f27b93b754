"""Paystack's endpoints, how often each may be called, and who goes first when that is not enough.

Limits: https://paystack.com/docs/api/#rate-limits; they count for each endpoint, in windows of a minute.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Endpoint(StrEnum):
    """What is called, as settings and reports name it."""

    INITIALIZE = "initialize"
    VERIFY = "verify"
    FETCH_TRANSACTION = "fetch_transaction"
    LIST_TRANSACTIONS = "list_transactions"
    CHARGE_AUTHORIZATION = "charge_authorization"
    CREATE_REFUND = "create_refund"
    FETCH_REFUND = "fetch_refund"
    LIST_REFUNDS = "list_refunds"
    FETCH_CUSTOMER = "fetch_customer"
    DEACTIVATE_AUTHORIZATION = "deactivate_authorization"


class Lane(StrEnum):
    """On whose behalf a call is made, the most urgent first."""

    CHECKOUT = "checkout"
    """A customer is waiting."""
    REFUNDS = "refunds"
    VERIFICATION = "verification"
    RECONCILIATION = "reconciliation"
    """Nobody is waiting."""


_LIVE_DEFAULT = 600
_LIVE: Mapping[Endpoint, int] = {
    Endpoint.INITIALIZE: 1_200,
    Endpoint.VERIFY: 3_000,
    Endpoint.CHARGE_AUTHORIZATION: 1_200,
}
_TEST = 100

KEPT_FOR: Mapping[Endpoint, Mapping[Lane, float]] = {
    Endpoint.VERIFY: {Lane.CHECKOUT: 0.4, Lane.VERIFICATION: 0.2, Lane.RECONCILIATION: 0.05},
    Endpoint.FETCH_REFUND: {Lane.REFUNDS: 0.5, Lane.RECONCILIATION: 0.1},
    Endpoint.LIST_REFUNDS: {Lane.REFUNDS: 0.5, Lane.RECONCILIATION: 0.1},
}
"""The share of a shared endpoint's quota that no other lane may use up: the more urgent, the larger, and never nothing.

What is kept for nobody goes to whoever comes first. An endpoint that is not named here serves one lane only.
"""


def published_limits(*, live: bool) -> dict[Endpoint, int]:
    """Return the calls a minute that Paystack allows."""
    return {endpoint: _LIVE.get(endpoint, _LIVE_DEFAULT) if live else _TEST for endpoint in Endpoint}


def parse_limits(text: str, published: Mapping[Endpoint, int]) -> dict[Endpoint, int]:
    """Read limits that an operator has set over those published, such as `all=600,verify=3000`; the last word counts.

    Raises:
        ValueError: a name that is no endpoint's, or a number that is not positive.

    """
    limits = dict(published)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if not number.isdecimal() or int(number) < 1:
            message = f"{part!r} is not name=calls a minute"
            raise ValueError(message)
        if name != "all" and name not in set(Endpoint):
            message = f"{name!r} is none of all, {', '.join(Endpoint)}"
            raise ValueError(message)
        limits |= dict.fromkeys(Endpoint if name == "all" else [Endpoint(name)], int(number))
    return limits
