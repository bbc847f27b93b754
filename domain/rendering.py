"""How a payment is shown outside: to API clients and in events, with the same names in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.ids import Prefix, show
from domain.instants import instant

if TYPE_CHECKING:
    from domain.payment import Payment


def render_payment(payment: Payment) -> dict[str, Any]:
    """Show a payment; `amount` is in the currency's subunit, instants are RFC 3339 strings in UTC."""
    instrument = payment.instrument
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
        "channel": instrument.channel,
        "cardType": instrument.card_type,
        "cardBrand": instrument.card_brand,
        "cardLast4": instrument.card_last4,
        "paystackTransactionId": payment.gateway_transaction_id,
        "failure": (
            {"code": payment.failure_code, "message": payment.failure_message} if payment.failure_code else None
        ),
        "reviewReason": payment.review_reason,
        "metadata": dict(payment.metadata),
        "createdAt": instant(payment.created_at),
        "paidAt": instant(payment.paid_at),
    }
