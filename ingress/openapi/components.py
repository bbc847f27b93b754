"""What the operations of the document share: its preface, security, parameters and headers."""

from __future__ import annotations

from typing import Any

from domain.ids import Prefix, pattern_of
from ingress.openapi.operation import Header, Parameter, Tag

VERSION = "0.1.0"
EVENTS_TAG = "Events"
EVENT_TYPE = "application/cloudevents+json"
EVENT_DESCRIPTION = (
    "Published to the RabbitMQ topic exchange (`RABBITMQ_EXCHANGE`) with its type as the routing key, at least once: "
    "deduplicate by `id`. It is committed with the change it tells. Order is not promised; `version` tells the newer."
)

_PREFACE = """\
A self-hosted payment service in front of [Paystack](https://paystack.com).

**Amounts** are integers of the currency's subunit: 250000 is 2,500.00 naira.

**Every answer** has one envelope: `success`, `data`, `error`, `timestamp`, `requestId`. An error has a `code` for
programs, which never changes its meaning. Fields may be added to answers: ignore those you do not know.

**Writes are answered 202** as soon as they are committed; a worker does the rest. `Prefer: wait=10` holds the answer
until the result is there, and is answered 201 then. Otherwise poll `Location`, or listen to the events.

**Repeat safely** with an `Idempotency-Key`: the same key with the same body is the same payment or refund.

**Tokens** are JWTs in `Authorization: Bearer`, with `sub`, `exp` and `roles`: `customer` (itself only; `sub` is its
userId), `service` (any user: your backend), `support` and `finance` (see everything; `support` refunds too), `admin`.
"""

INFO: dict[str, Any] = {
    "title": "Payfleet",
    "version": VERSION,
    "summary": "Payments through Paystack that see themselves through.",
    "description": _PREFACE,
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

TAGS = [
    {"name": Tag.PAYMENTS.value, "description": "Take a payment, follow it, have Paystack asked."},
    {"name": Tag.REFUNDS.value, "description": "Give money back, in part or whole."},
    {"name": Tag.METHODS.value, "description": "What a customer can be charged with again."},
    {"name": EVENTS_TAG, "description": "What your other services are told: CloudEvents 1.0."},
    {"name": Tag.PAYSTACK.value, "description": "For Paystack and the browsers it sends back, not for your backend."},
    {"name": Tag.OPERATION.value, "description": "For whoever runs the installation."},
]

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "HS256 with `JWT_SECRET`, or RS256 or ES256 with `JWT_PUBLIC_KEY`.",
    }
}


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def _in_header(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    given = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": required, "description": description, "schema": given}


PARAMETERS: dict[str, Any] = {
    "paymentId": _in_path("paymentId", {"pattern": pattern_of(Prefix.PAYMENT)}),
    "refundId": _in_path("refundId", {"pattern": pattern_of(Prefix.REFUND)}),
    "paymentMethodId": _in_path("paymentMethodId", {"pattern": pattern_of(Prefix.PAYMENT_METHOD)}),
    "userId": _in_path("userId", {"minLength": 1}),
    Parameter.IDEMPOTENCY_KEY.value: _in_header(
        Parameter.IDEMPOTENCY_KEY,
        "A name of your own for this intention, a UUID say: sent again with the same body, it is answered again.",
        {"minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"},
    ),
    Parameter.PREFER.value: _in_header(
        Parameter.PREFER,
        "`wait=N` holds the answer for at most N seconds (30 at most) until the result is there (RFC 7240).",
        {"examples": ["wait=10"]},
    ),
    Parameter.IF_NONE_MATCH.value: _in_header(
        Parameter.IF_NONE_MATCH,
        "The `ETag` of the answer you hold: as long as nothing has changed, you get 304 and no body.",
        {"examples": ['W/"1.3"']},
    ),
    Parameter.SIGNATURE.value: _in_header(
        Parameter.SIGNATURE,
        "The HMAC-SHA512 of the raw body with `PAYSTACK_SECRET_KEY`, in hexadecimal.",
        {"pattern": "^[0-9a-f]{128}$"},
        required=True,
    ),
    "X-Request-Id": _in_header(
        "X-Request-Id",
        "Your own id for this request (letters, digits and `_.:-`, 128 at most): it follows the payment through logs, "
        "history and events. Another one is made up for you.",
        {},
    ),
    "traceparent": _in_header("traceparent", "W3C Trace Context, handed on to the jobs this request makes.", {}),
}

HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The id of this request, as in `requestId`.",
        "required": True,
        "schema": {"type": "string"},
    },
    Header.LOCATION.value: {
        "description": "Where what this is about can be seen.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    Header.RETRY_AFTER.value: {
        "description": "How many seconds to wait before looking, or trying, again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    Header.PREFERENCE_APPLIED.value: {
        "description": "That the answer was held as `Prefer` asked.",
        "schema": {"type": "string", "examples": ["wait=10"]},
    },
    Header.IDEMPOTENCY_REPLAYED.value: {
        "description": "That an earlier request with this key made it.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    Header.ETAG.value: {
        "description": "Names this version; send it as `If-None-Match`.",
        "required": True,
        "schema": {"type": "string"},
    },
    Header.ALLOW_ORIGIN.value: {
        "description": "Any page may ask.",
        "required": True,
        "schema": {"type": "string", "enum": ["*"]},
    },
    Header.WWW_AUTHENTICATE.value: {
        "description": "How to authenticate.",
        "schema": {"type": "string", "enum": ["Bearer"]},
    },
}
