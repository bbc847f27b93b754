"""What answers hold, as models: `domain.rendering` writes it, these describe it, and every test's answer must fit.

Nothing is parsed or rendered through them while serving. A field is added here with the line that shows it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    create_model,
)
from pydantic.alias_generators import to_camel

from domain.channels import Channel
from domain.errors import ErrorCode
from domain.ids import Prefix, pattern_of
from domain.jobs import JobKind
from domain.method import MethodStatus
from domain.money import Currency
from domain.payment import FactName, PaymentStatus, ReviewReason, Source
from domain.refund import RefundStatus


def _shown_as(states: type[StrEnum]) -> WithJsonSchema:
    """Describe a status: the API writes it in lower case."""
    return WithJsonSchema({"type": "string", "enum": [state.lower() for state in states]})


PaymentId = Annotated[str, StringConstraints(pattern=pattern_of(Prefix.PAYMENT))]
RefundId = Annotated[str, StringConstraints(pattern=pattern_of(Prefix.REFUND))]
MethodId = Annotated[str, StringConstraints(pattern=pattern_of(Prefix.PAYMENT_METHOD))]
Reference = Annotated[str, StringConstraints(pattern=r"^pf-[0-7][0-9a-hjkmnp-tv-z]{25}(\.[0-9]{1,4})?$")]
Subunits = Annotated[int, Field(ge=0, description="An amount, in the currency's subunit: kobo, pesewas or cents.")]


class Shown(BaseModel):
    """A part of an answer: each field is always there, null where there is nothing to tell."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class Failure(Shown):
    """Why it failed."""

    code: ErrorCode
    message: Annotated[str | None, Field(description="For a person; Paystack's own words where it was Paystack.")]


class NextAction(Shown):
    """What a customer must do for a charge of a saved method to go on."""

    type: Annotated[str, Field(description="Paystack's word: open_url (see authorizationUrl), send_otp, send_pin, …")]
    message: Annotated[str | None, Field(description="Paystack's text for the customer.")]


class Payment(Shown):
    """A payment."""

    payment_id: PaymentId
    user_id: str
    order_id: str
    amount: Subunits
    currency: Currency
    status: Annotated[
        str,
        _shown_as(PaymentStatus),
        Field(description="failed and abandoned are not the end: on the hosted page a customer may still succeed."),
    ]
    version: Annotated[int, Field(ge=1, description="Grows by one with every change: tells the newer of two answers.")]
    reference: Annotated[Reference, Field(description="What Paystack knows it by.")]
    authorization_url: Annotated[
        str | None, Field(description="Where the customer pays; null until a worker has asked Paystack.")
    ]
    access_code: Annotated[str | None, Field(description="For Paystack's inline checkout.")]
    next_action: NextAction | None
    channel: Annotated[str | None, Field(description="How it was paid, by Paystack's word.")]
    card_type: str | None
    card_brand: str | None
    card_last4: str | None
    payment_method_id: Annotated[MethodId | None, Field(description="The saved method that is charged.")]
    paystack_transaction_id: int | None
    refunded_amount: Annotated[Subunits, Field(description="Really given back, in the subunit.")]
    refundable_amount: Annotated[Subunits, Field(description="What a refund may still ask for, in the subunit.")]
    failure: Failure | None
    review_reason: Annotated[
        ReviewReason | None, Field(description="Money that does not fit; a person must look. Do not fulfil for it.")
    ]
    metadata: Annotated[dict[str, Any], Field(description="As you sent it.")]
    created_at: AwareDatetime
    expires_at: Annotated[AwareDatetime | None, Field(description="When waiting for the customer ends.")]
    paid_at: AwareDatetime | None


class VerifiedPayment(Payment):
    """A payment, and what the newest look at Paystack saw."""

    verified_at: Annotated[AwareDatetime | None, Field(description="When Paystack was last asked.")]
    gateway_status: Annotated[str | None, Field(description="Paystack's own word for the transaction.")]
    verification_error: Annotated[ErrorCode | None, Field(description="Why the last look saw nothing, if so.")]


class Refund(Shown):
    """A refund."""

    refund_id: RefundId
    payment_id: PaymentId
    amount: Subunits
    currency: Currency
    status: Annotated[
        str,
        _shown_as(RefundStatus),
        Field(description="needs_attention: Paystack wants the customer's bank details, in its dashboard."),
    ]
    version: Annotated[int, Field(ge=1)]
    reason: str | None
    requested_by: Annotated[str, Field(description="The sub of the token that asked for it.")]
    paystack_refund_id: int | None
    failure: Failure | None
    metadata: dict[str, Any]
    created_at: AwareDatetime
    processed_at: AwareDatetime | None
    estimated_settlement: Annotated[
        AwareDatetime | None, Field(description="When the customer has the money at the latest, by Paystack's word.")
    ]


class Pagination(Shown):
    """Where in a list this page stands."""

    limit: int
    offset: int
    next_cursor: Annotated[PaymentId | None, Field(description="Send it as cursor for the next page.")]


class PaymentHistory(Shown):
    """A page of a user's payments, newest first."""

    payments: list[Payment]
    total_count: Annotated[int | None, Field(ge=0, description="Null on pages that a cursor leads to.")]
    total_is_exact: Annotated[bool | None, Field(description="False beyond 10,000 payments.")]
    has_more: bool
    pagination: Pagination


class TimelineEntry(Shown):
    """One thing that happened to a payment."""

    fact: FactName
    status: Annotated[str, _shown_as(PaymentStatus), Field(description="The status it led to.")]
    source: Annotated[Source, Field(description="Who told.")]
    details: dict[str, Any]
    correlation_id: str
    at: AwareDatetime


class NextStep(Shown):
    """One thing that will be done without anybody asking."""

    step: Annotated[
        str,
        WithJsonSchema({"type": "string", "enum": ["wait_for_customer", "wait_for_operator", *JobKind]}),
        Field(description="A job's kind, or who is waited for."),
    ]
    at: Annotated[AwareDatetime | None, Field(description="When; null where a person must act.")]
    attempts: Annotated[int, Field(ge=0, description="How often it failed so far.")]
    last_error: str | None


class Timeline(Shown):
    """What happened to a payment, and what happens next."""

    payment_id: PaymentId
    status: Annotated[str, _shown_as(PaymentStatus)]
    history: list[TimelineEntry]
    next: list[NextStep]


class OfferedCurrency(Shown):
    """A currency this installation takes."""

    code: Currency
    name: str
    symbol: str
    subunit: str
    min_amount: Subunits
    max_amount: Subunits
    channels: list[Channel]


class Checkout(Shown):
    """What a shop's page needs to offer paying."""

    public_key: Annotated[str | None, Field(description="Paystack's public key, where it is set.")]
    currencies: list[OfferedCurrency]


class RefundsOfPayment(Shown):
    """What was given back of a payment, and what may still be."""

    payment_id: PaymentId
    amount: Subunits
    currency: Currency
    refunded_amount: Subunits
    refundable_amount: Subunits
    refunds: list[Refund]


class PaymentMethod(Shown):
    """A saved payment method; its code and e-mail address are never shown."""

    payment_method_id: MethodId
    user_id: str
    status: Annotated[str, _shown_as(MethodStatus)]
    type: Annotated[str | None, Field(description="card or bank_account; null until Paystack has told.")]
    card_type: str | None
    card_brand: str | None
    card_last4: str | None
    expiry_month: Annotated[int | None, Field(ge=1, le=12)]
    expiry_year: int | None
    bank_name: str | None
    account_name: str | None
    is_reusable: Annotated[bool, Field(description="Whether it can be charged: it is active.")]
    is_default: Annotated[bool, Field(description="The one of the user's methods to offer first.")]
    merged_into: Annotated[MethodId | None, Field(description="The method that held this card already.")]
    failure: Failure | None
    created_at: AwareDatetime


class PaymentMethods(Shown):
    """A user's active methods, newest first."""

    payment_methods: list[PaymentMethod]
    default_method_id: MethodId | None


class PaystackEvent(BaseModel):
    """An event as Paystack sends it; `data` is of the kind that `event` names."""

    event: str
    data: dict[str, Any]


class CustomersReturn(BaseModel):
    """What Paystack adds to the address a customer comes back to; either names the payment."""

    reference: str | None = None
    trxref: str | None = None


class WebhookReceipt(Shown):
    """An event of Paystack's is stored."""

    received: Literal[True]
    duplicate: Annotated[bool, Field(description="It had come before; it is applied once.")]


class Liveness(Shown):
    """The process lives."""

    status: Literal["alive"]


class Readiness(Shown):
    """The process can serve."""

    status: Literal["ready"]
    postgres: Literal["up"]


class Error(Shown):
    """What was wrong."""

    code: Annotated[ErrorCode, Field(description="For programs; its meaning never changes.")]
    message: Annotated[str, Field(description="For people.")]
    details: Annotated[str | None, Field(description="More for people.")]
    field: Annotated[str | None, Field(description="The body, query or header field at fault.")]


class _Envelope(Shown):
    """Every answer's shape."""

    timestamp: AwareDatetime
    request_id: Annotated[str, Field(description="Names this request in logs, history and events.")]


class ErrorAnswer(_Envelope):
    """An answer to a request that could not be served."""

    success: Literal[False]
    data: None
    error: Error


def answer_with(data: type[Shown]) -> type[BaseModel]:
    """Make the model of a successful answer: the envelope around some data."""
    return create_model(
        f"{data.__name__}Answer",
        __base__=_Envelope,
        __doc__="A successful answer.",
        success=(Literal[True], ...),
        data=(data, ...),
        error=(None, ...),
    )


class CloudEvent(Shown):
    """What every event is: CloudEvents 1.0 in JSON."""

    model_config = ConfigDict(alias_generator=None)

    specversion: Literal["1.0"]
    id: Annotated[
        str,
        StringConstraints(pattern=pattern_of(Prefix.EVENT)),
        Field(description="Deduplicate by it: an event may come more than once."),
    ]
    source: Literal["/payfleet/payments"]
    subject: Annotated[PaymentId, Field(description="The payment it is about, for refunds too.")]
    time: AwareDatetime
    datacontenttype: Literal["application/json"]
    correlationid: Annotated[str, Field(description="The requestId of the request that began it.")]


class RefundWithPayment(Refund):
    """A refund as an event tells of it, with its payment as it then stood."""

    payment: Payment


def event_of(kind: str, data: type[Shown]) -> type[BaseModel]:
    """Make the model of one type of event."""
    named = Annotated[str, WithJsonSchema({"type": "string", "const": kind})]
    name = "".join(part.capitalize() for part in kind.replace(".", "_").split("_"))
    return create_model(f"{name}Event", __base__=CloudEvent, __doc__=None, type=(named, ...), data=(data, ...))
