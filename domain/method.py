"""Saved payment methods: what a customer can be charged with again without being asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from domain.channels import Channel

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


BANK_ACCOUNT = "bank_account"


class MethodStatus(StrEnum):
    """Where a saved method stands."""

    PENDING = "PENDING"
    """Added by a client; Paystack has not been asked about its code yet."""
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    """Taken away by its owner, or refused by Paystack: never charged again."""
    REJECTED = "REJECTED"
    """Paystack does not know its code for this e-mail address, or it cannot be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """A permission to charge, as Paystack shows it with a charge or a customer.

    `code` and `email` are secrets here: a code can be charged only with the e-mail address it was made with. Each use
    makes a new code; `signature` names the card itself and stays, for different customers too.
    """

    code: str = field(repr=False)
    email: str = field(repr=False)
    reusable: bool
    signature: str | None = None
    channel: str | None = None
    card_type: str | None = None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    bank: str | None = None
    account_name: str | None = None
    country_code: str | None = None

    @property
    def type(self) -> str:
        """What it is: a `card`, or else a `bank_account` that is debited."""
        return "card" if self.channel in {None, "card", "apple_pay"} else BANK_ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A saved method as its row holds it; the code and the address stay sealed."""

    id: UUID
    user_id: str
    status: MethodStatus
    authorization_sealed: bytes = field(repr=False)
    email_sealed: bytes = field(repr=False)
    type: str | None
    signature: str | None
    card_type: str | None
    card_brand: str | None
    card_last4: str | None
    card_exp_month: int | None
    card_exp_year: int | None
    bank_name: str | None
    account_name: str | None
    country_code: str | None
    is_default: bool
    merged_into: UUID | None
    failure_code: str | None
    failure_message: str | None
    created_at: datetime

    @property
    def channel(self) -> Channel:
        """The way to pay that it stands for."""
        return Channel.BANK if self.type == BANK_ACCOUNT else Channel.CARD

    def is_expired(self, now: datetime) -> bool:
        """Whether its card was good only until a month that is over."""
        if self.card_exp_month is None or self.card_exp_year is None:
            return False
        return (self.card_exp_year, self.card_exp_month) < (now.year, now.month)


def is_same(authorization: Authorization, *, code: str, email: str, signature: str | None) -> bool:
    """Whether a saved code stands for the same card, or account, of the same customer.

    Paystack makes a new code at each use and gives the card's signature to different customers, whom it tells apart by
    address, whatever its case. Where there is no signature, only the code itself tells.
    """
    if authorization.email.casefold() != email.casefold():
        return False
    if authorization.signature is None or signature is None:
        return authorization.code == code
    return authorization.signature == signature
