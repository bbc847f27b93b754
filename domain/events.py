"""What Payfleet tells the services downstream: CloudEvents 1.0 in JSON, at least once, to be deduplicated by id.

Format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from domain.ids import Prefix, show
from domain.instants import instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID


class EventType(StrEnum):
    """The type of an event; it is the routing key on the topic exchange as well."""

    PAYMENT_INITIATED = "payment.initiated"
    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_ABANDONED = "payment.abandoned"
    PAYMENT_DUPLICATE = "payment.duplicate"
    PAYMENT_FLAGGED = "payment.flagged"
    REFUND_INITIATED = "refund.initiated"
    REFUND_COMPLETED = "refund.completed"
    REFUND_FAILED = "refund.failed"
    REFUND_NEEDS_ATTENTION = "refund.needs_attention"


@dataclass(frozen=True, slots=True)
class Event:
    """One event as its row holds it.

    The subject is always a payment, so that whoever follows a payment finds its refunds too. `data` is what the API
    shows of the payment, or of the refund, at that moment.

    The type is plain text: during a deploy an old relay carries types it does not know.
    """

    id: UUID
    type: str
    subject: UUID
    data: Mapping[str, Any]
    correlation_id: str
    created_at: datetime


def cloud_event(event: Event) -> dict[str, Any]:
    """Write an event as a CloudEvents JSON object; `correlationid` is an extension attribute."""
    return {
        "specversion": "1.0",
        "id": show(Prefix.EVENT, event.id),
        "source": "/payfleet/payments",
        "type": event.type,
        "subject": show(Prefix.PAYMENT, event.subject),
        "time": instant(event.created_at),
        "datacontenttype": "application/json",
        "correlationid": event.correlation_id,
        "data": dict(event.data),
    }
