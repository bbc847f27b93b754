"""An example of each error that an answer can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.errors import ErrorCode
from ingress.openapi.examples import ENVELOPE, METHOD_ID, PAYMENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

_C = ErrorCode
_LATER = "Send the same request again, with the same Idempotency-Key."
_ASKS_ON = "Payfleet goes on asking by itself. The payment stands as it was."

ERRORS: Mapping[ErrorCode, tuple[str, str | None, str | None]] = {
    _C.INVALID_REQUEST: ("Field required", "orderId: Field required", "orderId"),
    _C.INVALID_AMOUNT: (
        "An amount in NGN lies between 100 and 99999999900.",
        "Amounts are in the currency's subunit: kobo, pesewas or cents.",
        "amount",
    ),
    _C.CURRENCY_NOT_SUPPORTED: ("USD is not taken.", None, "currency"),
    _C.CHANNEL_NOT_SUPPORTED: ("Paystack has no qr in USD.", "It has card.", "channels"),
    _C.PAYSTACK_INVALID_REFERENCE: (
        "That is no reference of a payment.",
        "Send the reference as the payment shows it: pf-…",
        "reference",
    ),
    _C.UNAUTHORIZED: ("A bearer token is needed.", None, "Authorization"),
    _C.PAYSTACK_WEBHOOK_INVALID: ("The signature does not fit the body.", None, "x-paystack-signature"),
    _C.INSUFFICIENT_PERMISSIONS: ("This token may not pay for that user.", None, "userId"),
    _C.PAYMENT_NOT_FOUND: ("There is no such payment.", None, "paymentId"),
    _C.REFUND_NOT_FOUND: ("There is no such refund.", None, "refundId"),
    _C.PAYMENT_METHOD_NOT_FOUND: ("There is no such payment method.", None, "paymentMethodId"),
    _C.PAYSTACK_TRANSACTION_NOT_FOUND: ("No transaction was opened under this reference.", None, "reference"),
    _C.PAYSTACK_TIMEOUT: ("Paystack took the question and did not answer in time.", _ASKS_ON, None),
    _C.DUPLICATE_PAYMENT: ("This order has a payment already.", PAYMENT_ID, "orderId"),
    _C.REQUEST_IN_PROGRESS: (
        "A request with the same key, or for the same thing, is still being stored.",
        "Send the same request again in a moment, with the same Idempotency-Key.",
        None,
    ),
    _C.PAYLOAD_TOO_LARGE: ("The data value transmitted exceeds the capacity limit.", None, None),
    _C.UNSUPPORTED_MEDIA_TYPE: ("The body must be JSON.", "Send Content-Type: application/json.", "Content-Type"),
    _C.IDEMPOTENCY_KEY_REUSED: (
        "This Idempotency-Key was used for another request.",
        f"It made {PAYMENT_ID}.",
        "Idempotency-Key",
    ),
    _C.FEATURE_DISABLED: ("Payments in USD are switched off.", None, "currency"),
    _C.INVALID_PAYMENT_METHOD: ("The user has no such active payment method.", None, "paymentMethodId"),
    _C.PAYSTACK_AUTHORIZATION_INVALID: (
        "Paystack does not know this code for this e-mail address.",
        f"{METHOD_ID} was rejected.",
        "authorizationCode",
    ),
    _C.REFUND_NOT_ALLOWED: ("A payment that is pending cannot be refunded.", None, None),
    _C.PARTIAL_REFUND_EXCEEDS: (
        "At most 200000 can still be refunded.",
        "Of 250000, 50000 are refunded or under way.",
        "amount",
    ),
    _C.RATE_LIMIT_EXCEEDED: ("At most 100 requests in 60 seconds.", "Go on in 12 seconds.", None),
    _C.INTERNAL_ERROR: ("Payfleet failed to serve this request.", None, None),
    _C.PAYSTACK_API_ERROR: ("Paystack refused to tell.", _ASKS_ON, None),
    _C.GATEWAY_ERROR: ("Paystack could not be reached, or answered nothing usable.", _ASKS_ON, None),
    _C.SERVICE_UNAVAILABLE: ("Payfleet cannot reach its database; nothing was stored.", _LATER, None),
    _C.MAINTENANCE_MODE: (
        "Payfleet's database takes no writes now; nothing was stored.",
        "Reading works. Send the same request again later, with the same Idempotency-Key.",
        None,
    ),
    _C.GATEWAY_TIMEOUT: ("Paystack could not be connected to in time.", _ASKS_ON, None),
}
"""The message, details and field of each error that an answer can have."""


def refused(code: ErrorCode) -> dict[str, Any]:
    """Put an error into the envelope."""
    message, details, field = ERRORS[code]
    error = {"code": code.value, "message": message, "details": details, "field": field}
    return {"success": False, "data": None, "error": error, **ENVELOPE}
