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

from domain.channels import Channel
from domain.money import Currency

# Blanks and control characters, spelled out: what `\s` means differs between Python, Rust and JavaScript.
_BLANK = r"\s\u0000-\u001f\u007f-\u009f\ufeff"
# Stripped before it is measured; the pattern says to readers of the schema that it may not be blank.
Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=rf"[^{_BLANK}]", strip_whitespace=True)
]
# The shape only: whether the mailbox exists is for Paystack to find out.
Email = Annotated[
    str,
    StringConstraints(
        max_length=254, pattern=rf"^[^@{_BLANK}]{{1,64}}@[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z]{{2,63}}$"
    ),
]
Amount = Annotated[int, Field(strict=True, gt=0, lt=2**63)]
Metadata = Annotated[
    dict[str, Any], Field(description="Yours; comes back with every answer and event. Numbers have 64 bits at most.")
]
HttpUrl = Annotated[str, StringConstraints(max_length=2048, pattern=rf"^https?://[^{_BLANK}/?#]+[^{_BLANK}]*$")]


# What PaymentRequest's validators say, for readers of its schema.
_ONE_WAY_TO_PAY: dict[str, Any] = {
    "if": {"properties": {"paymentMethodId": {"type": "string"}}, "required": ["paymentMethodId"]},
    "then": {
        "properties": {
            "email": {"type": "null"},
            "channels": {"maxItems": 0},
            "paymentChannel": {"type": "null"},
            "savePaymentMethod": {"const": False},
        }
    },
    "else": {"properties": {"email": {"type": "string"}}, "required": ["email"]},
    "not": {
        "properties": {"channels": {"type": "array"}, "paymentChannel": {"type": "string"}},
        "required": ["channels", "paymentChannel"],
    },
}


class PaymentRequest(BaseModel):
    """The body of `POST /payments`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, json_schema_extra=_ONE_WAY_TO_PAY)

    user_id: Annotated[Identifier, Field(description="Your name for who pays; a customer's token is for its own.")]
    order_id: Annotated[Identifier, Field(description="Your name for what is paid; it has one live payment at a time.")]
    amount: Annotated[Amount, Field(description="In the currency's subunit, within its limits: see `GET /checkout`.")]
    currency: Currency = Currency.NGN
    payment_method_id: Annotated[
        Identifier | None,
        Field(description="A saved method of this user to charge; in place of email, channels and savePaymentMethod."),
    ] = None
    email: Annotated[Email | None, Field(validate_default=True, description="Whom Paystack sends the receipt to.")] = (
        None
    )
    channels: Annotated[
        Annotated[list[Channel], Field(max_length=10)] | None,
        Field(description="The ways to pay that its customer may choose from; all that the currency has, if none."),
    ] = None
    payment_channel: Annotated[Channel | None, Field(description="The one way to pay; in place of channels.")] = None
    callback_url: Annotated[HttpUrl | None, Field(description="Where the customer's browser goes afterwards.")] = None
    save_payment_method: Annotated[
        bool, Field(strict=True, description="Save what the customer pays with, if it can be charged again.")
    ] = False
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("email", "channels", "payment_channel", "save_payment_method")
    @classmethod
    def _one_way_to_pay(cls, value: Any, info: ValidationInfo) -> Any:
        """With a saved method there is nothing to choose; without one, the page is opened for an e-mail address."""
        if info.data.get("payment_method_id") is not None:
            if value:
                message = "a saved method is charged as it is: send this or paymentMethodId"
                raise ValueError(message)
        elif info.field_name == "email" and value is None:
            message = "needed, unless paymentMethodId names a saved method"
            raise ValueError(message)
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

    user_id: Annotated[Identifier, Field(description="Whose method it is.")]
    authorization_code: Annotated[str, StringConstraints(pattern=r"^AUTH_[A-Za-z0-9]{1,95}$")] = Field(
        repr=False, description="Paystack's code, from a charge of this customer."
    )
    email: Email = Field(repr=False, description="The address that the code was made with.")
    card_type: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=20, pattern=rf"[^{_BLANK}]", strip_whitespace=True)]
        | None,
        Field(description="Stands until Paystack says what the card is."),
    ] = None


class RefundRequest(BaseModel):
    """The body of `POST /payments/{paymentId}/refund`; without an amount, all that is left."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    amount: Annotated[Amount | None, Field(description="In the subunit; all that is left, if none.")] = None
    reason: Annotated[Identifier | None, Field(description="Why; the customer may see it.")] = None
    metadata: Metadata = Field(default_factory=dict)


class VerificationRequest(BaseModel):
    """The body of `POST /payments/verify`, and the query of `GET`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: Annotated[str, StringConstraints(max_length=255), Field(description="The reference of a payment: pf-…")]
