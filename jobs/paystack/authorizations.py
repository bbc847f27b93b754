"""Paystack's JSON about charging without the customer: a customer's authorizations, and what charging one came to.

Shapes: https://paystack.com/docs/api/customer/#fetch and https://paystack.com/docs/api/transaction/#charge-authorization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict

from domain.payment import Challenged
from jobs.paystack.wire import AuthorizationData, Flag, Secret, Text

_MODEL = ConfigDict(extra="ignore", frozen=True)
# What Paystack may want of the customer: https://paystack.com/docs/payments/payment-channels/#handle-the-response
_OF_THE_CUSTOMER = frozenset(
    {"send_pin", "send_otp", "send_phone", "send_birthday", "send_address", "open_url", "pay_offline"}
)


def _objects(value: object) -> list[object]:
    """Read a list of objects; whatever else is in it, or in its place, is left out."""
    return [item for item in cast("list[object]", value) if isinstance(item, dict)] if isinstance(value, list) else []


class Customer(BaseModel):
    """A customer and every authorization of theirs that is still active. The address is a secret."""

    model_config = _MODEL

    email: Secret = None
    authorizations: Annotated[tuple[AuthorizationData, ...], BeforeValidator(_objects)] = ()


class ChargeAttempt(BaseModel):
    """The answer to charging an authorization, as far as it differs from what verify shows of a transaction.

    A challenge has no status: it is `paused`, and says where the customer must go.
    """

    model_config = _MODEL

    reference: str
    status: Text = None
    paused: Flag = False
    authorization_url: Text = None
    access_code: Text = None
    display_text: Text = None

    @property
    def challenge(self) -> Challenged | None:
        """What the customer must do, if anything."""
        if self.paused or self.status in _OF_THE_CUSTOMER:
            action = "open_url" if self.paused or self.status is None else self.status
            return Challenged(self.reference, action, self.display_text, self.access_code, self.authorization_url)
        return None


@dataclass(frozen=True, slots=True)
class AttemptedCharge:
    """An attempt, and the raw answer it was read from."""

    attempt: ChargeAttempt
    raw: dict[str, Any]
