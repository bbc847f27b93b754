"""When Paystack is asked about a payment that nobody asks about: soon, then ever more seldom, until it has ended.

Its webhook may have been lost, and then only asking finds the money. A look at a payment costs a call of Paystack's
quota, so their number grows with the logarithm of the customer's time: four for a card, seven where every way to pay
in naira is open.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.channels import CHANNELS_OF, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.channels import Channel
    from domain.money import Currency

_FIRST_LOOK_SHARE = 15  # of the time that the quickest way to pay may take: four minutes for a card
_PAUSE_MIN = timedelta(minutes=1)
_PAUSE_MIN_AFTER_EXPIRY = timedelta(hours=1)
_PAUSE_MAX_AFTER_EXPIRY = timedelta(days=1)
_LAST_WORD_WITHIN = timedelta(days=7)


def first_look_after(currency: Currency, channels: Sequence[Channel]) -> timedelta:
    """How long after its acceptance a payment is first asked about; no channels means all of its currency.

    The customer may have paid in the quickest of the ways there are.
    """
    return min(PATIENCE[channel] for channel in channels or CHANNELS_OF[currency]) / _FIRST_LOOK_SHARE


def next_look_after(age: timedelta, patience: timedelta) -> timedelta:
    """How long to wait after a look at a payment that did not end it.

    Args:
        age: of the payment, at that look.
        patience: the time its customer has. One look falls on its end; most payments end by it.

    """
    if age < patience:
        return min(max(2 * age, _PAUSE_MIN), patience - age)
    return min(max(age, _PAUSE_MIN_AFTER_EXPIRY), _PAUSE_MAX_AFTER_EXPIRY)


def is_given_up(age: timedelta, patience: timedelta) -> bool:
    """Whether a payment counts as abandoned though Paystack still calls it unfinished, or has no word that we know.

    It would hold its order for ever. Money that comes later still makes it succeed.
    """
    return age >= patience + _LAST_WORD_WITHIN
