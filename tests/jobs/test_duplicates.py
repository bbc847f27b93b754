"""Money that came twice goes back by itself where the switch is on, and is held where it is off."""

from dataclasses import replace

import pytest

from domain.payment import Payment, PaymentStatus
from jobs.context import JobContext
from jobs.refunds import send_refunds
from jobs.webhooks import apply_webhooks
from tests.jobs.scripted_paystack import ScriptedPaystack
from tests.refunding import pass_time, pay
from tests.stories import (
    accept,
    event_body,
    event_types,
    history_of,
    job_ids,
    payment_now,
    rows,
    store_webhook,
    transaction_data,
)


@pytest.fixture
def giving_back(context: JobContext) -> JobContext:
    return replace(context, refund_duplicates=True)


def receive(context: JobContext, payment: Payment, transaction_id: int, *, name: str = "charge.success") -> None:
    status = name.partition(".")[2]
    data = transaction_data(payment, id=transaction_id, status=status, amount=50_500)
    store_webhook(context.database, event_body(name, data))
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))


def two_payments_of_one_order(context: JobContext) -> tuple[Payment, Payment]:
    """The first was declined, a second one paid; then the customer went back to the first page and paid again."""
    first = accept(context.database, order_id="shared")
    receive(context, first, 1, name="charge.failed")
    second = accept(context.database, order_id="shared")
    receive(context, second, 2)
    receive(context, first, 1)
    return first, second


def refunds_of(context: JobContext) -> list[tuple[object, ...]]:
    sql = "SELECT payment_id, amount, gateway_transaction_id::int, is_surplus, requested_by FROM refunds ORDER BY 3"
    return rows(context.database, sql)


def test_a_second_payment_of_an_order_is_given_back_whole(giving_back: JobContext, paystack: ScriptedPaystack) -> None:
    first, second = two_payments_of_one_order(giving_back)
    assert refunds_of(giving_back) == [(first.id, 50_000, 1, False, "payfleet")]
    send_refunds(giving_back, job_ids(giving_back.database, "send_refund"))
    assert [(r["transaction"], r["amount"]) for r in paystack.refunds] == [(1, 50_000)]
    assert payment_now(giving_back.database, second.id).refundable == 50_000
    assert history_of(giving_back.database, first.id)[2:] == [
        ("payment.duplicate", "SUCCESS"),
        ("refund.requested", "SUCCESS"),
        ("refund.processing", "SUCCESS"),
    ]
    assert "refund.initiated" in event_types(giving_back.database)


def test_a_second_transaction_of_a_payment_is_given_back_beside_its_own_money(
    giving_back: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(giving_back.database, transaction_id=1)
    receive(giving_back, payment, 2)
    receive(giving_back, payment, 2)  # told again by another event
    receive(giving_back, payment, 3)
    assert refunds_of(giving_back) == [
        (payment.id, 50_500, 2, True, "payfleet"),
        (payment.id, 50_500, 3, True, "payfleet"),
    ]
    pass_time(giving_back.database, 5)
    send_refunds(giving_back, job_ids(giving_back.database, "send_refund"))
    assert sorted((r["transaction"], r["amount"]) for r in paystack.refunds) == [(2, 50_500), (3, 50_500)]
    now = payment_now(giving_back.database, payment.id)
    assert (now.status, now.refunds_reserved, now.refundable) == (PaymentStatus.SUCCESS, 0, 50_000)


def test_without_the_switch_it_is_held_for_a_person(context: JobContext) -> None:
    first, _ = two_payments_of_one_order(context)
    payment = pay(context.database, transaction_id=3)
    receive(context, payment, 4)
    assert refunds_of(context) == []
    assert payment_now(context.database, first.id).review_reason == "duplicate_order"
    assert payment_now(context.database, payment.id).review_reason == "paid_twice"
