"""The ways to pay: which currency has which, which of them this installation offers, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from domain.errors import ErrorCode, RefusedError
from domain.money import Currency

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Channel(StrEnum):
    """How a customer may pay on Paystack's page; which of them work is up to currency and merchant."""

    CARD = "card"
    BANK = "bank"
    APPLE_PAY = "apple_pay"
    USSD = "ussd"
    QR = "qr"
    MOBILE_MONEY = "mobile_money"
    BANK_TRANSFER = "bank_transfer"
    EFT = "eft"
    CAPITEC_PAY = "capitec_pay"
    PAYATTITUDE = "payattitude"


_C = Channel

CHANNELS_OF: Mapping[Currency, frozenset[Channel]] = {
    Currency.NGN: frozenset({_C.CARD, _C.BANK, _C.USSD, _C.BANK_TRANSFER, _C.APPLE_PAY, _C.PAYATTITUDE}),
    Currency.GHS: frozenset({_C.CARD, _C.MOBILE_MONEY, _C.BANK_TRANSFER}),
    Currency.ZAR: frozenset({_C.CARD, _C.QR, _C.EFT, _C.CAPITEC_PAY, _C.APPLE_PAY}),
    Currency.KES: frozenset({_C.CARD, _C.MOBILE_MONEY, _C.BANK_TRANSFER, _C.APPLE_PAY}),
    Currency.USD: frozenset({_C.CARD}),
}
"""What Paystack offers in each currency (https://paystack.com/docs/payments/payment-channels/)."""

PATIENCE: Mapping[Channel, timedelta] = {
    _C.CARD: timedelta(hours=1),
    _C.APPLE_PAY: timedelta(hours=1),
    _C.PAYATTITUDE: timedelta(hours=1),
    _C.CAPITEC_PAY: timedelta(hours=1),
    _C.QR: timedelta(hours=6),
    _C.BANK: timedelta(hours=6),
    _C.EFT: timedelta(hours=6),
    _C.MOBILE_MONEY: timedelta(hours=6),
    _C.USSD: timedelta(hours=24),
    _C.BANK_TRANSFER: timedelta(hours=24),
}
"""How long a customer may take with each channel before a payment that nobody paid counts as abandoned."""


@dataclass(frozen=True, slots=True)
class Features:
    """What this installation offers, as its operator has set it."""

    channels_off: frozenset[Channel] = frozenset()
    currencies: frozenset[Currency] = frozenset(Currency)


def available_channels(currency: Currency, features: Features) -> tuple[Channel, ...]:
    """List the ways to pay that this installation offers in a currency; none, when the currency is off."""
    if currency not in features.currencies:
        return ()
    return tuple(channel for channel in Channel if channel in CHANNELS_OF[currency] - features.channels_off)


def offered_channels(currency: Currency, asked: Sequence[Channel], features: Features) -> tuple[Channel, ...]:
    """Decide which channels a payment may use; an empty answer leaves the choice to Paystack.

    Args:
        currency: of the payment.
        asked: what the client named; empty means all there are.
        features: what this installation offers.

    Raises:
        RefusedError: FEATURE_DISABLED or CHANNEL_NOT_SUPPORTED, for the first thing asked that cannot be had.

    """
    if currency not in features.currencies:
        raise RefusedError(ErrorCode.FEATURE_DISABLED, f"Payments in {currency} are switched off.", field="currency")
    possible = CHANNELS_OF[currency]
    for channel in asked:
        if channel in features.channels_off:
            raise RefusedError(ErrorCode.FEATURE_DISABLED, f"Paying by {channel} is switched off.", field="channels")
        if channel not in possible:
            raise RefusedError(
                ErrorCode.CHANNEL_NOT_SUPPORTED,
                f"Paystack has no {channel} in {currency}.",
                details=f"It has {', '.join(sorted(possible))}.",
                field="channels",
            )
    if asked:
        return tuple(dict.fromkeys(asked))
    if not features.channels_off & possible:
        return ()
    left = available_channels(currency, features)
    if not left:
        raise RefusedError(ErrorCode.FEATURE_DISABLED, f"No way to pay in {currency} is on.", field="currency")
    return left


def patience(currency: Currency, channels: Sequence[Channel]) -> timedelta:
    """Tell how long the slowest of a payment's channels may take; no channels means all of its currency."""
    return max(PATIENCE[channel] for channel in channels or CHANNELS_OF[currency])
