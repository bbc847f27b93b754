"""The events that consumers receive: one model for each type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.events import EventType
from ingress.openapi.models import Payment, RefundWithPayment, event_of

if TYPE_CHECKING:
    from pydantic import BaseModel

EVENTS: dict[EventType, type[BaseModel]] = {
    kind: event_of(kind.value, RefundWithPayment if kind.startswith("refund.") else Payment) for kind in EventType
}
