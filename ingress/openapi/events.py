"""The events that consumers receive: one model for each type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, WithJsonSchema, create_model

from domain.events import EventType
from domain.ids import Prefix, pattern_of
from ingress.openapi.models import Payment, PaymentId, Refund, Shown

if TYPE_CHECKING:
    from pydantic import BaseModel


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


EVENTS: dict[EventType, type[BaseModel]] = {
    kind: event_of(kind.value, RefundWithPayment if kind.startswith("refund.") else Payment) for kind in EventType
}
