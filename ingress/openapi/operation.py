"""What the document says of one operation, before it is written out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from domain.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from ingress.openapi.models import Shown


class Tag(StrEnum):
    """The chapters of the reference."""

    PAYMENTS = "Payments"
    REFUNDS = "Refunds"
    METHODS = "Saved payment methods"
    PAYSTACK = "Paystack"
    OPERATION = "Operation"


class Header(StrEnum):
    """The headers of answers that carry meaning; `X-Request-Id` is on all of them."""

    LOCATION = "Location"
    RETRY_AFTER = "Retry-After"
    PREFERENCE_APPLIED = "Preference-Applied"
    IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"
    ETAG = "ETag"
    ALLOW_ORIGIN = "Access-Control-Allow-Origin"
    WWW_AUTHENTICATE = "WWW-Authenticate"


OF_BODIES = (ErrorCode.INVALID_REQUEST, ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE)
"""What every JSON body may be refused with."""
OF_READY = (Header.LOCATION, Header.PREFERENCE_APPLIED, Header.IDEMPOTENCY_REPLAYED)
"""The headers of a write's answer to a client that waited; see `ingress.accepted`."""
OF_ACCEPTED = (*OF_READY, Header.RETRY_AFTER)
"""The headers of a write's 202."""


class Parameter(StrEnum):
    """The headers of requests that carry meaning."""

    IDEMPOTENCY_KEY = "Idempotency-Key"
    PREFER = "Prefer"
    IF_NONE_MATCH = "If-None-Match"
    SIGNATURE = "x-paystack-signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer: its data in the envelope, or a body of another media type, or none."""

    description: str
    data: type[Shown] | None = None
    example: Mapping[str, Any] | None = None
    media_type: str | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A body that is asked for, and examples of it by their titles."""

    model: type[BaseModel]
    examples: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    `writes` says that it changes something, `errors` which refusals are its own; what every operation of its kind can
    answer is added by `all_errors`. `links` tells which other operations go on from its answer, each with the parameter
    it takes and where in the answer that stands.
    """

    id: str
    method: str
    path: str
    tag: Tag
    summary: str
    description: str
    answers: Mapping[HTTPStatus, Answer]
    errors: tuple[ErrorCode, ...] = ()
    request: Request | None = None
    query: type[BaseModel] | None = None
    headers: tuple[Parameter, ...] = ()
    links: Mapping[str, tuple[str, str]] | None = None
    needs_token: bool = True
    writes: bool = False
    uses_database: bool = True

    @property
    def all_errors(self) -> tuple[ErrorCode, ...]:
        """Every error code that it can answer."""
        found = dict.fromkeys(self.errors)
        if self.needs_token:
            found |= dict.fromkeys((ErrorCode.UNAUTHORIZED, ErrorCode.RATE_LIMIT_EXCEEDED))
        if self.writes:
            found |= dict.fromkeys((ErrorCode.REQUEST_IN_PROGRESS, ErrorCode.MAINTENANCE_MODE))
        if self.uses_database:
            found[ErrorCode.SERVICE_UNAVAILABLE] = None
        found[ErrorCode.INTERNAL_ERROR] = None
        return tuple(found)
