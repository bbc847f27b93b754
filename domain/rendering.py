"""How payments, refunds and saved methods are shown outside: to API clients and in events, with the same names in both.

Amounts are in the currency's subunit; instants are RFC 3339 strings in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.ids import Prefix, show
from domain.instants import instant

if TYPE_CHECKING:
    from domain.method import PaymentMethod
    from domain.payment import Payment
    from domain.refund import Refund


def render_payment(payment: Payment) -> dict[str, Any]:
    """Show a payment: all that its `version` stands for, and nothing that changes without a new one."""
    instrument = payment.instrument
    method = payment.payment_method_id
    return {
        "paymentId": show(Prefix.PAYMENT, payment.id),
        "userId": payment.user_id,
        "orderId": payment.order_id,
        "amount": payment.money.amount,
        "currency": payment.money.currency.value,
        "status": payment.status.lower(),
        "version": payment.version,
        "reference": payment.reference,
        "authorizationUrl": payment.authorization_url,
        "accessCode": payment.access_code,
        "nextAction": payment.next_action,
        "channel": instrument.channel,
        "cardType": instrument.card_type,
        "cardBrand": instrument.card_brand,
        "cardLast4": instrument.card_last4,
        "paymentMethodId": None if method is None else show(Prefix.PAYMENT_METHOD, method),
        "paystackTransactionId": payment.gateway_transaction_id,
        "refundedAmount": payment.refunded,
        "refundableAmount": payment.refundable,
        "failure": _failure(payment.failure_code, payment.failure_message),
        "reviewReason": payment.review_reason,
        "metadata": dict(payment.metadata),
        "createdAt": instant(payment.created_at),
        "expiresAt": instant(payment.expires_at),
        "paidAt": instant(payment.paid_at),
    }


def render_verification(payment: Payment) -> dict[str, Any]:
    """Show a payment with the newest look at Paystack: when, what it said, or why it said nothing."""
    return render_payment(payment) | {
        "verifiedAt": instant(payment.verified_at),
        "gatewayStatus": payment.gateway_status,
        "verificationError": payment.verification_error,
    }


def render_refund(refund: Refund) -> dict[str, Any]:
    """Show a refund."""
    return {
        "refundId": show(Prefix.REFUND, refund.id),
        "paymentId": show(Prefix.PAYMENT, refund.payment_id),
        "amount": refund.money.amount,
        "currency": refund.money.currency.value,
        "status": refund.status.lower(),
        "version": refund.version,
        "reason": refund.reason,
        "requestedBy": refund.requested_by,
        "paystackRefundId": refund.gateway_refund_id,
        "failure": _failure(refund.failure_code, refund.failure_message),
        "metadata": dict(refund.metadata),
        "createdAt": instant(refund.created_at),
        "processedAt": instant(refund.processed_at),
        "estimatedSettlement": instant(refund.estimated_settlement),
    }


def render_refund_event(refund: Refund, payment: Payment) -> dict[str, Any]:
    """Show a refund with its payment, as events tell of them."""
    return {**render_refund(refund), "payment": render_payment(payment)}


def render_method(method: PaymentMethod) -> dict[str, Any]:
    """Show a saved method; never its code or its e-mail address."""
    merged = method.merged_into
    return {
        "paymentMethodId": show(Prefix.PAYMENT_METHOD, method.id),
        "userId": method.user_id,
        "status": method.status.lower(),
        "type": method.type,
        "cardType": method.card_type,
        "cardBrand": method.card_brand,
        "cardLast4": method.card_last4,
        "expiryMonth": method.card_exp_month,
        "expiryYear": method.card_exp_year,
        "bankName": method.bank_name,
        "accountName": method.account_name,
        "isReusable": method.status == "ACTIVE",
        "isDefault": method.is_default,
        "mergedInto": None if merged is None else show(Prefix.PAYMENT_METHOD, merged),
        "failure": _failure(method.failure_code, method.failure_message),
        "createdAt": instant(method.created_at),
    }


def _failure(code: str | None, message: str | None) -> dict[str, str | None] | None:
    return {"code": code, "message": message} if code else None
