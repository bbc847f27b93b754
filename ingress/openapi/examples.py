"""Examples of the document; the tests hold each of them to its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYMENT_ID = "pay_01m83mxrs5fkxbdn54j6sqxf5y"
_REFERENCE = "pf-01m83mxrs5fkxbdn54j6sqxf5y"
_REFUND_ID = "rfd_01m83nbb3xe6m9k2w1p0t7v8zd"
METHOD_ID = "pm_01m83n2q4hfgbs8d6c5v7x9y1k"
ENVELOPE = {"timestamp": "2026-11-23T07:29:00.200Z", "requestId": "req_54850b0d7d2225219be3"}

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
    "paymentMethodId": METHOD_ID,
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
    "paymentId": PAYMENT_ID,
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
    "paymentId": PAYMENT_ID,
    "status": "pending",
    "history": [
        {
            "fact": "payment.accepted",
            "status": "pending",
            "source": "client",
            "details": {},
            "correlationId": ENVELOPE["requestId"],
            "at": "2026-11-23T07:29:00.100Z",
        },
        {
            "fact": "payment.initialized",
            "status": "pending",
            "source": "paystack.initialize",
            "details": {"reference": _REFERENCE},
            "correlationId": ENVELOPE["requestId"],
            "at": "2026-11-23T07:29:00.312Z",
        },
    ],
    "next": [
        {"step": "verify_payment", "at": "2026-11-23T07:33:00.100Z", "attempts": 0, "lastError": None},
        {"step": "wait_for_customer", "at": "2026-11-24T07:29:00.100Z", "attempts": 0, "lastError": None},
    ],
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
    "paymentId": PAYMENT_ID,
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
    "paymentId": PAYMENT_ID,
    "amount": 250_000,
    "currency": "NGN",
    "refundedAmount": 50_000,
    "refundableAmount": 200_000,
    "refunds": [REFUNDED],
}

UNCHECKED: dict[str, Any] = {
    "paymentMethodId": METHOD_ID,
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
METHODS: dict[str, Any] = {"paymentMethods": [ACTIVE], "defaultMethodId": METHOD_ID}


def answered(data: Mapping[str, Any]) -> dict[str, Any]:
    """Put data into the envelope."""
    return {"success": True, "data": dict(data), "error": None, **ENVELOPE}


def told(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put data into an event."""
    return {
        "specversion": "1.0",
        "id": "evt_01m83nbb3zf1t4w7y2q5s8d0xk",
        "source": "/payfleet/payments",
        "type": kind,
        "subject": PAYMENT_ID,
        "time": "2026-11-23T07:31:13.004Z",
        "datacontenttype": "application/json",
        "correlationid": ENVELOPE["requestId"],
        "data": dict(data),
    }


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
