"""Examples of the document; the tests hold each of them to its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAYMENT_ID = "pay_01m83mxrs5fkxbdn54j6sqxf5y"
_REFERENCE = "pf-01m83mxrs5fkxbdn54j6sqxf5y"
_REFUND_ID = "rfd_01m83nbb3xe6m9k2w1p0t7v8zd"
_METHOD_ID = "pm_01m83n2q4hfgbs8d6c5v7x9y1k"
_ENVELOPE = {"timestamp": "2026-11-23T07:29:00.200Z", "requestId": "req_54850b0d7d2225219be3"}

PAYMENT_REQUEST: dict[str, Any] = {
    "userId": "user_1",
    "orderId": "order_1",
    "amount": 250_000,
    "currency": "NGN",
    "email": "ada@example.com",
    "callbackUrl": "https://shop.example.com/orders/1/paid",
    "metadata": {"cart": "spring"},
}
SAVED_METHOD_REQUEST: dict[str, Any] = {
    "userId": "user_1",
    "orderId": "order_2",
    "amount": 99_900,
    "currency": "NGN",
    "paymentMethodId": _METHOD_ID,
}
REFUND_REQUEST: dict[str, Any] = {"amount": 50_000, "reason": "One of three arrived broken"}
METHOD_REQUEST: dict[str, Any] = {
    "userId": "user_1",
    "authorizationCode": "AUTH_8dfhjjdt",
    "email": "ada@example.com",
}
VERIFICATION_REQUEST: dict[str, Any] = {"reference": _REFERENCE}
PAYSTACK_EVENT: dict[str, Any] = {
    "event": "charge.success",
    "data": {"id": 4099260516, "reference": _REFERENCE, "amount": 250_000, "currency": "NGN", "status": "success"},
}

PENDING: dict[str, Any] = {
    "paymentId": _PAYMENT_ID,
    "userId": "user_1",
    "orderId": "order_1",
    "amount": 250_000,
    "currency": "NGN",
    "status": "pending",
    "version": 1,
    "reference": _REFERENCE,
    "authorizationUrl": None,
    "accessCode": None,
    "nextAction": None,
    "channel": None,
    "cardType": None,
    "cardBrand": None,
    "cardLast4": None,
    "paymentMethodId": None,
    "paystackTransactionId": None,
    "refundedAmount": 0,
    "refundableAmount": 0,
    "failure": None,
    "reviewReason": None,
    "metadata": {"cart": "spring"},
    "createdAt": "2026-11-23T07:29:00.100Z",
    "expiresAt": None,
    "paidAt": None,
}
PAYABLE: dict[str, Any] = {
    **PENDING,
    "version": 2,
    "authorizationUrl": "https://checkout.paystack.com/tbrei54kcfnl2jb",
    "accessCode": "tbrei54kcfnl2jb",
    "expiresAt": "2026-11-24T07:29:00.100Z",
}
PAID: dict[str, Any] = {
    **PAYABLE,
    "status": "success",
    "version": 3,
    "channel": "card",
    "cardType": "visa",
    "cardBrand": "visa",
    "cardLast4": "4081",
    "paystackTransactionId": 4099260516,
    "refundableAmount": 250_000,
    "paidAt": "2026-11-23T07:31:12.000Z",
}
VERIFIED: dict[str, Any] = {
    **PAID,
    "verifiedAt": "2026-11-23T07:31:15.310Z",
    "gatewayStatus": "success",
    "verificationError": None,
}
NOT_VERIFIED: dict[str, Any] = {**PAYABLE, "verifiedAt": None, "gatewayStatus": None, "verificationError": None}
HISTORY: dict[str, Any] = {
    "payments": [PAID],
    "totalCount": 1,
    "totalIsExact": True,
    "hasMore": False,
    "pagination": {"limit": 20, "offset": 0, "nextCursor": None},
}
TIMELINE: dict[str, Any] = {
    "paymentId": _PAYMENT_ID,
    "status": "pending",
    "history": [
        {
            "fact": "payment.accepted",
            "status": "pending",
            "source": "client",
            "details": {},
            "correlationId": _ENVELOPE["requestId"],
            "at": "2026-11-23T07:29:00.100Z",
        },
        {
            "fact": "payment.initialized",
            "status": "pending",
            "source": "paystack.initialize",
            "details": {"reference": _REFERENCE},
            "correlationId": _ENVELOPE["requestId"],
            "at": "2026-11-23T07:29:00.312Z",
        },
    ],
    "next": [{"step": "wait_for_customer", "at": "2026-11-24T07:29:00.100Z", "attempts": 0, "lastError": None}],
}
CHECKOUT: dict[str, Any] = {
    "publicKey": "pk_test_0123456789",
    "currencies": [
        {
            "code": "USD",
            "name": "US Dollar",
            "symbol": "$",
            "subunit": "cents",
            "minAmount": 100,
            "maxAmount": 99_999_999_900,
            "channels": ["card"],
        }
    ],
}

REQUESTED: dict[str, Any] = {
    "refundId": _REFUND_ID,
    "paymentId": _PAYMENT_ID,
    "amount": 50_000,
    "currency": "NGN",
    "status": "pending",
    "version": 1,
    "reason": "One of three arrived broken",
    "requestedBy": "shop",
    "paystackRefundId": None,
    "failure": None,
    "metadata": {},
    "createdAt": "2026-11-23T07:36:20.221Z",
    "processedAt": None,
    "estimatedSettlement": "2026-12-07T07:36:20.221Z",
}
TAKEN_UP: dict[str, Any] = {**REQUESTED, "status": "processing", "version": 2, "paystackRefundId": 3018284}
REFUNDED: dict[str, Any] = {**TAKEN_UP, "status": "success", "version": 3, "processedAt": "2026-11-23T09:02:44.000Z"}
PARTLY_REFUNDED: dict[str, Any] = {
    **PAID,
    "status": "partially_refunded",
    "version": 6,
    "refundedAmount": 50_000,
    "refundableAmount": 200_000,
}
REFUNDS: dict[str, Any] = {
    "paymentId": _PAYMENT_ID,
    "amount": 250_000,
    "currency": "NGN",
    "refundedAmount": 50_000,
    "refundableAmount": 200_000,
    "refunds": [REFUNDED],
}

UNCHECKED: dict[str, Any] = {
    "paymentMethodId": _METHOD_ID,
    "userId": "user_1",
    "status": "pending",
    "type": None,
    "cardType": None,
    "cardBrand": None,
    "cardLast4": None,
    "expiryMonth": None,
    "expiryYear": None,
    "bankName": None,
    "accountName": None,
    "isReusable": False,
    "isDefault": False,
    "mergedInto": None,
    "failure": None,
    "createdAt": "2026-11-23T07:33:41.009Z",
}
ACTIVE: dict[str, Any] = {
    **UNCHECKED,
    "status": "active",
    "type": "card",
    "cardType": "visa",
    "cardBrand": "visa",
    "cardLast4": "4081",
    "expiryMonth": 12,
    "expiryYear": 2030,
    "bankName": "TEST BANK",
    "isReusable": True,
    "isDefault": True,
}
TAKEN_AWAY: dict[str, Any] = {**ACTIVE, "status": "inactive", "isReusable": False, "isDefault": False}
METHODS: dict[str, Any] = {"paymentMethods": [ACTIVE], "defaultMethodId": _METHOD_ID}


def answered(data: Mapping[str, Any]) -> dict[str, Any]:
    """Put data into the envelope."""
    return {"success": True, "data": dict(data), "error": None, **_ENVELOPE}


def refused(code: ErrorCode) -> dict[str, Any]:
    """Put an error into the envelope."""
    message, details, field = ERRORS[code]
    error = {"code": code.value, "message": message, "details": details, "field": field}
    return {"success": False, "data": None, "error": error, **_ENVELOPE}


def told(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put data into an event."""
    return {
        "specversion": "1.0",
        "id": "evt_01m83nbb3zf1t4w7y2q5s8d0xk",
        "source": "/payfleet/payments",
        "type": kind,
        "subject": _PAYMENT_ID,
        "time": "2026-11-23T07:31:13.004Z",
        "datacontenttype": "application/json",
        "correlationid": _ENVELOPE["requestId"],
        "data": dict(data),
    }


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
    _C.DUPLICATE_PAYMENT: ("This order has a payment already.", _PAYMENT_ID, "orderId"),
    _C.REQUEST_IN_PROGRESS: (
        "A request with the same key, or for the same thing, is still being stored.",
        "Send the same request again in a moment, with the same Idempotency-Key.",
        None,
    ),
    _C.PAYLOAD_TOO_LARGE: ("The data value transmitted exceeds the capacity limit.", None, None),
    _C.UNSUPPORTED_MEDIA_TYPE: ("The body must be JSON.", "Send Content-Type: application/json.", "Content-Type"),
    _C.IDEMPOTENCY_KEY_REUSED: (
        "This Idempotency-Key was used for another request.",
        f"It made {_PAYMENT_ID}.",
        "Idempotency-Key",
    ),
    _C.FEATURE_DISABLED: ("Payments in USD are switched off.", None, "currency"),
    _C.INVALID_PAYMENT_METHOD: ("The user has no such active payment method.", None, "paymentMethodId"),
    _C.PAYSTACK_AUTHORIZATION_INVALID: (
        "Paystack does not know this code for this e-mail address.",
        f"{_METHOD_ID} was rejected.",
        "authorizationCode",
    ),
    _C.REFUND_NOT_ALLOWED: ("A payment that is pending cannot be refunded.", None, None),
    _C.PARTIAL_REFUND_EXCEEDS: (
        "At most 200000 can still be refunded.",
        "Of 250000, 50000 are refunded or under way.",
        "amount",
    ),
    _C.RATE_LIMIT_EXCEEDED: ("Too many requests.", "Go on after the seconds in Retry-After.", None),
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

_FLAGGED = {**PAID, "version": 4, "reviewReason": "paid_twice"}
_REFUND_FAILED = {**TAKEN_UP, "status": "failed", "version": 3, "estimatedSettlement": None}
EVENT_DATA: Mapping[str, Mapping[str, Any]] = {
    "payment.initiated": PAYABLE,
    "payment.succeeded": PAID,
    "payment.failed": {
        **PAYABLE,
        "status": "failed",
        "version": 3,
        "failure": {"code": "PAYMENT_DECLINED", "message": "Declined"},
    },
    "payment.abandoned": {**PAYABLE, "status": "abandoned", "version": 3},
    "payment.duplicate": {**PAID, "reviewReason": "duplicate_order"},
    "payment.flagged": _FLAGGED,
    "refund.initiated": {**REQUESTED, "payment": PAID},
    "refund.completed": {**REFUNDED, "payment": PARTLY_REFUNDED},
    "refund.failed": {
        **_REFUND_FAILED,
        "failure": {"code": "PAYSTACK_API_ERROR", "message": "The bank returned the money"},
        "payment": PAID,
    },
    "refund.needs_attention": {**TAKEN_UP, "status": "needs_attention", "version": 3, "payment": PAID},
}
"""The data of an event of each type."""
