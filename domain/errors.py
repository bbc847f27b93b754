"""Every error a client can meet: its code, its HTTP status, and who can do something about it."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus


class ErrorCode(StrEnum):
    """The closed list of error codes of the API; `docs/errors.md` gives the cause and the cure of each."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_AMOUNT = "INVALID_AMOUNT"
    CURRENCY_NOT_SUPPORTED = "CURRENCY_NOT_SUPPORTED"
    CHANNEL_NOT_SUPPORTED = "CHANNEL_NOT_SUPPORTED"
    PAYSTACK_INVALID_REFERENCE = "PAYSTACK_INVALID_REFERENCE"
    UNAUTHORIZED = "UNAUTHORIZED"
    PAYSTACK_WEBHOOK_INVALID = "PAYSTACK_WEBHOOK_INVALID"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    NOT_FOUND = "NOT_FOUND"
    PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND"
    REFUND_NOT_FOUND = "REFUND_NOT_FOUND"
    PAYMENT_METHOD_NOT_FOUND = "PAYMENT_METHOD_NOT_FOUND"
    PAYSTACK_TRANSACTION_NOT_FOUND = "PAYSTACK_TRANSACTION_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    PAYSTACK_TIMEOUT = "PAYSTACK_TIMEOUT"
    DUPLICATE_PAYMENT = "DUPLICATE_PAYMENT"
    REQUEST_IN_PROGRESS = "REQUEST_IN_PROGRESS"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    FEATURE_DISABLED = "FEATURE_DISABLED"
    INVALID_PAYMENT_METHOD = "INVALID_PAYMENT_METHOD"
    PAYSTACK_AUTHORIZATION_INVALID = "PAYSTACK_AUTHORIZATION_INVALID"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    REFUND_NOT_ALLOWED = "REFUND_NOT_ALLOWED"
    PARTIAL_REFUND_EXCEEDS = "PARTIAL_REFUND_EXCEEDS"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    USER_NOT_ACTIVE = "USER_NOT_ACTIVE"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    ORDER_MISMATCH = "ORDER_MISMATCH"
    ORDER_ALREADY_PAID = "ORDER_ALREADY_PAID"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    PAYSTACK_API_ERROR = "PAYSTACK_API_ERROR"
    GATEWAY_ERROR = "GATEWAY_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    MAINTENANCE_MODE = "MAINTENANCE_MODE"
    GATEWAY_TIMEOUT = "GATEWAY_TIMEOUT"


STATUS_OF: dict[ErrorCode, HTTPStatus] = {
    ErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.INVALID_AMOUNT: HTTPStatus.BAD_REQUEST,
    ErrorCode.CURRENCY_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
    ErrorCode.CHANNEL_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
    ErrorCode.PAYSTACK_INVALID_REFERENCE: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.PAYSTACK_WEBHOOK_INVALID: HTTPStatus.UNAUTHORIZED,
    ErrorCode.INSUFFICIENT_PERMISSIONS: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PAYMENT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.REFUND_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PAYMENT_METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.PAYSTACK_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    ErrorCode.DUPLICATE_PAYMENT: HTTPStatus.CONFLICT,
    ErrorCode.REQUEST_IN_PROGRESS: HTTPStatus.CONFLICT,
    ErrorCode.PAYLOAD_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.IDEMPOTENCY_KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.FEATURE_DISABLED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.INVALID_PAYMENT_METHOD: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.PAYSTACK_AUTHORIZATION_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.PAYMENT_DECLINED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.INSUFFICIENT_FUNDS: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.REFUND_NOT_ALLOWED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.PARTIAL_REFUND_EXCEEDS: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.USER_NOT_FOUND: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.USER_NOT_ACTIVE: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.ORDER_NOT_FOUND: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.ORDER_MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.ORDER_ALREADY_PAID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.RATE_LIMIT_EXCEEDED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.PAYSTACK_API_ERROR: HTTPStatus.BAD_GATEWAY,
    ErrorCode.GATEWAY_ERROR: HTTPStatus.BAD_GATEWAY,
    ErrorCode.SERVICE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.MAINTENANCE_MODE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.GATEWAY_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


class PayfleetError(Exception):
    """The root of every error that Payfleet raises on purpose."""


class RefusedError(PayfleetError):
    """The request cannot be served as it is: the caller can mend it.

    Attributes:
        code: which rule was broken.
        details: what exactly was wrong, for a person to read.
        field: the name of the body, query or header field at fault, if there is one.
        retry_after_seconds: when the same request may succeed, if time will mend it.

    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: str | None = None,
        field: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        """Say which rule was broken, and where."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(PayfleetError):
    """Something Payfleet depends on does not answer now; the same call may succeed later."""


class ReadOnlyError(UnavailableError):
    """The database answers, and takes no writes now: a failover or its maintenance is under way."""


class ContendedError(UnavailableError):
    """Another transaction has held what this one needs for too long."""


class SettingsError(PayfleetError):
    """The environment does not describe a service that could run."""
