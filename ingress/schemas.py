"""The bodies of the public API: strict types, no unknown fields, amounts as integers of the subunit."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from domain.channels import Channel
from domain.money import Currency

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
# The shape only: whether the mailbox exists is for Paystack to find out.
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[^@\s]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z]{2,63}$"),
]
HttpUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+[^\s]*$")]


class PaymentRequest(BaseModel):
    """The body of `POST /payments`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    user_id: Identifier
    order_id: Identifier
    amount: Annotated[int, Field(strict=True, gt=0, lt=2**63)]
    currency: Currency = Currency.NGN
    email: Email
    channels: Annotated[list[Channel], Field(max_length=10)] | None = None
    payment_channel: Channel | None = None
    callback_url: HttpUrl | None = None
    save_payment_method: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way_to_name_channels(self) -> Self:
        if self.channels is not None and self.payment_channel is not None:
            message = "send either channels or paymentChannel"
            raise ValueError(message)
        return self

    @property
    def wanted_channels(self) -> list[Channel]:
        """The channels asked for; empty means all there are."""
        return [self.payment_channel] if self.payment_channel is not None else self.channels or []


class RefundRequest(BaseModel):
    """The body of `POST /payments/{paymentId}/refund`; without an amount, all that is left."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    amount: Annotated[int, Field(strict=True, gt=0, lt=2**63)] | None = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class VerificationRequest(BaseModel):
    """The body of `POST /payments/verify`, and the query of `GET`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: Annotated[str, StringConstraints(max_length=255)]
