"""Every error a client can meet: its code, its HTTP status, and who can do something about it."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus


class ErrorCode(StrEnum):
    """The closed list of error codes of the API; `docs/errors.md` gives the cause and the cure of each."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_AMOUNT = "INVALID_AMOUNT"
    CURRENCY_NOT_SUPPORTED = "CURRENCY_NOT_SUPPORTED"
    UNAUTHORIZED = "UNAUTHORIZED"
    PAYSTACK_WEBHOOK_INVALID = "PAYSTACK_WEBHOOK_INVALID"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    NOT_FOUND = "NOT_FOUND"
    PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    PAYSTACK_API_ERROR = "PAYSTACK_API_ERROR"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"


STATUS_OF: dict[ErrorCode, HTTPStatus] = {
    ErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.INVALID_AMOUNT: HTTPStatus.BAD_REQUEST,
    ErrorCode.CURRENCY_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.PAYSTACK_WEBHOOK_INVALID: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INSUFFICIENT_PERMISSIONS: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PAYMENT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.PAYLOAD_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.IDEMPOTENCY_KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.PAYMENT_DECLINED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.INSUFFICIENT_FUNDS: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.PAYSTACK_API_ERROR: HTTPStatus.BAD_GATEWAY,
    ErrorCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class PayfleetError(Exception):
    """The root of every error that Payfleet raises on purpose."""


class RefusedError(PayfleetError):
    """The request cannot be served as it is: the caller can mend it.

    Attributes:
        code: which rule was broken.
        details: what exactly was wrong, for a person to read.
        field: the name of the body, query or header field at fault, if there is one.

    """

    def __init__(self, code: ErrorCode, message: str, *, details: str | None = None, field: str | None = None) -> None:
        """Say which rule was broken, and where."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.field = field


class UnavailableError(PayfleetError):
    """Something Payfleet depends on does not answer now; the same call may succeed later."""


class SettingsError(PayfleetError):
    """The environment does not describe a service that could run."""
