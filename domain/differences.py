"""What Paystack's books say that ours do not: decided about one transaction, or one refund, at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.books import Check
from domain.payment import PAID, ReviewReason
from domain.refund import RefundStatus

if TYPE_CHECKING:
    from domain.payment import Charged, Payment
    from domain.refund import Refund, RefundNews


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two books do not agree about, and in which way."""

    check: Check
    detail: str


def difference_of_payment(payment: Payment | None, charged: Charged) -> Difference | None:
    """Hold a transaction that was paid at Paystack against the payment that its reference names, if it is here.

    Money that was flagged is no difference: a person was called to it.
    """
    there = f"transaction {charged.transaction_id} of {charged.received} {charged.currency} under {charged.reference}"
    if payment is None:
        return Difference(Check.GATEWAY_UNPAID, f"not here, and Paystack has {there}")
    if charged.transaction_id in payment.flagged_transactions:
        return None
    if payment.status not in PAID:
        return Difference(Check.GATEWAY_UNPAID, f"{payment.status}, and Paystack has {there}")
    if charged.transaction_id != payment.gateway_transaction_id:
        return Difference(
            Check.GATEWAY_SECOND, f"paid by transaction {payment.gateway_transaction_id}, and Paystack has {there}"
        )
    money = payment.money
    if (charged.asked, charged.currency) != (money.amount, money.currency) or charged.received < money.amount:
        return Difference(Check.GATEWAY_MONEY, f"{money.amount} {money.currency}, and Paystack has {there}")
    if charged.reversed and not payment.refunds_reserved and payment.review_reason != ReviewReason.REVERSED:
        return Difference(Check.GATEWAY_MISSING, f"Paystack has reversed {there}, and no refund of ours says why")
    return None


def difference_of_refund(refund: Refund, news: RefundNews) -> Difference | None:
    """Hold a refund as Paystack shows it against ours.

    One that is under way here is no difference, whatever it is there: it is asked about again by itself.
    """
    there = f"Paystack has {news.amount} {news.currency} as {news.status} under {news.gateway_refund_id}"
    if news.amount not in {None, refund.money.amount} or news.currency not in {None, refund.money.currency}:
        return Difference(Check.GATEWAY_REFUND_DIFFERS, f"{refund.money.amount} {refund.money.currency}, and {there}")
    is_over = refund.status in {RefundStatus.SUCCESS, RefundStatus.FAILED}
    if is_over and news.status is not refund.status:
        return Difference(Check.GATEWAY_REFUND_DIFFERS, f"{refund.status}, and {there}")
    return None
