"""The bodies of the public API: strict types, no unknown fields, amounts as integers of the subunit."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

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
    payment_method_id: Identifier | None = None
    email: Annotated[Email | None, Field(validate_default=True)] = None
    channels: Annotated[list[Channel], Field(max_length=10)] | None = None
    payment_channel: Channel | None = None
    callback_url: HttpUrl | None = None
    save_payment_method: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("email", "channels", "payment_channel", "save_payment_method")
    @classmethod
    def _one_way_to_pay(cls, value: Any, info: ValidationInfo) -> Any:
        """With a saved method there is nothing to choose; without one, the page is opened for an e-mail address."""
        if info.data.get("payment_method_id") is not None:
            if value:
                raise PydanticCustomError("two_ways", "A saved method is charged as it is: send one or the other")
        elif info.field_name == "email" and value is None:
            raise PydanticCustomError("missing", "Field required, unless paymentMethodId names a saved method")
        return value

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


class PaymentMethodRequest(BaseModel):
    """The body of `POST /payment-methods`; `cardType` stands only until Paystack says what the card is."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    user_id: Identifier
    authorization_code: Annotated[str, StringConstraints(pattern=r"^AUTH_[A-Za-z0-9]{1,95}$")] = Field(repr=False)
    email: Email = Field(repr=False)
    card_type: Annotated[str, StringConstraints(min_length=1, max_length=20, strip_whitespace=True)] | None = None


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
