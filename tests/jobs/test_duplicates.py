"""Money that came twice goes back by itself where the switch is on, and is held where it is off."""

from dataclasses import replace

import pytest

from domain.payment import Payment, PaymentStatus, Source
from jobs.applying import Learned, apply_facts
from jobs.context import JobContext
from jobs.paystack.wire import Transaction, charged_fact
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


def learn(context: JobContext, payment: Payment, *transaction_ids: int) -> None:
    """Hear of paid transactions in one transaction of ours, with nothing to catch what goes wrong in it."""
    heard = [transaction_data(payment, id=number, amount=50_500) for number in transaction_ids]
    facts = [charged_fact(Transaction.model_validate(data), data) for data in heard]
    with context.database.transaction() as tx:
        apply_facts(context, tx, [Learned(payment.id, fact, Source.VERIFY, "req_1") for fact in facts])


def receive(context: JobContext, payment: Payment, transaction_id: int, *, name: str = "charge.success") -> None:
    data = transaction_data(payment, id=transaction_id, status=name.partition(".")[2], amount=50_500)
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


@pytest.mark.parametrize("batches", [[[2, 2, 3]], [[2], [2], [3]], [[2, 3], [3, 2]]])
def test_further_transactions_of_a_payment_are_given_back_once_each_beside_its_own_money(
    giving_back: JobContext, paystack: ScriptedPaystack, batches: list[list[int]]
) -> None:
    payment = pay(giving_back.database, transaction_id=1)
    for batch in batches:
        learn(giving_back, payment, *batch)
    facts = [fact for fact, _ in history_of(giving_back.database, payment.id)[2:]]
    assert sorted(facts) == ["payment.flagged"] * 2 + ["refund.requested"] * 2
    versions = rows(giving_back.database, "SELECT version FROM payment_history ORDER BY version")
    assert versions == [(version,) for version in range(1, 7)]
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
