"""What counts as a difference between our books and Paystack's, and what does not."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.books import Check
from domain.differences import difference_of_payment, difference_of_refund
from domain.money import Currency, Money
from domain.payment import PAID, Charged, Instrument, Payment, PaymentStatus, ReviewReason
from domain.refund import Refund, RefundNews, RefundStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAYMENT = Payment(
    id=UUID("01890000-0000-7000-8000-000000000001"),
    user_id="user-1",
    order_id="order-1",
    money=Money(50_000, Currency.NGN),
    status=PaymentStatus.SUCCESS,
    version=3,
    reference_sequence=1,
    created_at=NOON,
    gateway_transaction_id=7001,
)
CHARGED = Charged(
    reference=PAYMENT.reference,
    asked=50_000,
    received=50_000,
    currency="NGN",
    transaction_id=7001,
    paid_at=NOON,
    instrument=Instrument(),
    response={},
)
REFUND = Refund(
    id=UUID("01890000-0000-7000-8000-000000000002"),
    payment_id=PAYMENT.id,
    money=Money(20_000, Currency.NGN),
    status=RefundStatus.SUCCESS,
    version=2,
    requested_by="support-1",
    gateway_transaction_id=7001,
    created_at=NOON,
    gateway_refund_id=9001,
)
NEWS = RefundNews(status=RefundStatus.SUCCESS, gateway_refund_id=9001, amount=20_000, currency="NGN")


def check_of_payment(payment: Payment | None, charged: Charged) -> Check | None:
    difference = difference_of_payment(payment, charged)
    return None if difference is None else difference.check


@pytest.mark.parametrize("status", PaymentStatus)
def test_money_at_paystack_wants_a_payment_that_is_paid(status: PaymentStatus) -> None:
    payment = replace(PAYMENT, status=status)
    assert check_of_payment(payment, CHARGED) == (None if status in PAID else Check.GATEWAY_UNPAID)
    flagged = replace(payment, flagged_transactions=(7001,))
    assert check_of_payment(flagged, CHARGED) is None
    assert check_of_payment(None, CHARGED) is Check.GATEWAY_UNPAID


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"transaction_id": 7002}, Check.GATEWAY_SECOND),
        ({"asked": 49_999}, Check.GATEWAY_MONEY),
        ({"asked": 50_001}, Check.GATEWAY_MONEY),
        ({"received": 49_999}, Check.GATEWAY_MONEY),
        ({"received": 50_750}, None),  # the customer bore the fees
        ({"currency": "USD"}, Check.GATEWAY_MONEY),
        ({"reversed": True}, Check.GATEWAY_MISSING),
    ],
)
def test_a_paid_payment_wants_the_same_money_there(changes: dict, expected: Check | None) -> None:
    assert check_of_payment(PAYMENT, replace(CHARGED, **changes)) is expected


def test_money_that_left_again_wants_a_refund_of_ours_or_a_person() -> None:
    left = replace(CHARGED, reversed=True)
    assert check_of_payment(replace(PAYMENT, refunds_reserved=1), left) is None
    assert check_of_payment(replace(PAYMENT, review_reason=ReviewReason.REVERSED), left) is None
    assert check_of_payment(replace(PAYMENT, review_reason=ReviewReason.PAID_TWICE), left) is Check.GATEWAY_MISSING


@pytest.mark.parametrize("ours", RefundStatus)
@pytest.mark.parametrize("theirs", set(RefundStatus) - {RefundStatus.PENDING})
def test_a_refund_at_its_end_wants_the_same_end_there(ours: RefundStatus, theirs: RefundStatus) -> None:
    difference = difference_of_refund(replace(REFUND, status=ours), replace(NEWS, status=theirs))
    assert (difference is not None) == (ours in {RefundStatus.SUCCESS, RefundStatus.FAILED} and ours is not theirs)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [({"amount": 19_999}, True), ({"currency": "GHS"}, True), ({"amount": None, "currency": None}, False)],
)
def test_a_refund_wants_the_same_money_there_as_far_as_it_is_told(changes: dict, differs: bool) -> None:
    for status in RefundStatus:
        refund, news = replace(REFUND, status=status), replace(NEWS, status=status, **changes)
        assert (difference_of_refund(refund, news) is not None) == differs
