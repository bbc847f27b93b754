"""An order is paid once: money of a second payment is held, flagged and told apart, whatever comes first."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from db.payments import LiveOrderError
from domain.payment import Charged, ChargeFailed, Fact, Instrument, NotPaid, Payment, PaymentStatus, Source
from jobs.applying import Learned, apply_facts
from jobs.context import JobContext
from tests.stories import accept, event_types, history_of, payment_now, rows, try_to_accept


def paid(payment: Payment, transaction_id: int) -> Charged:
    return Charged(
        reference=payment.reference,
        asked=payment.money.amount,
        received=payment.money.amount,
        currency=payment.money.currency,
        transaction_id=transaction_id,
        paid_at=None,
        instrument=Instrument(channel="card"),
        response={},
    )


def declined(payment: Payment) -> ChargeFailed:
    return ChargeFailed(reference=payment.reference, reason="Declined", transaction_id=None)


def learn(context: JobContext, *facts: tuple[Payment, Fact]) -> None:
    """Apply facts in one transaction, as a worker does with a batch."""
    with context.database.transaction() as tx:
        apply_facts(context, tx, [Learned(payment.id, fact, Source.WEBHOOK, "req_1") for payment, fact in facts])


def two_payments_of_one_order(context: JobContext) -> tuple[Payment, Payment]:
    """The first was declined, so that a second could begin; then its customer went back to the first page."""
    first = accept(context.database, order_id="shared")
    learn(context, (first, declined(first)))
    return first, accept(context.database, order_id="shared")


def reviews(context: JobContext, *payments: Payment) -> list[str | None]:
    return [payment_now(context.database, payment.id).review_reason for payment in payments]


@pytest.mark.parametrize("together", [True, False])
def test_money_of_a_second_payment_of_one_order_is_held_as_a_duplicate(context: JobContext, together: bool) -> None:
    first, second = two_payments_of_one_order(context)
    facts = [(second, paid(second, 2)), (first, paid(first, 1))]
    for batch in [facts] if together else [[fact] for fact in facts]:
        learn(context, *batch)
    assert [payment_now(context.database, one.id).status for one in (first, second)] == [PaymentStatus.SUCCESS] * 2
    assert reviews(context, first, second) == ["duplicate_order", None]
    assert event_types(context.database) == ["payment.duplicate", "payment.failed", "payment.succeeded"]
    assert history_of(context.database, first.id)[-1] == ("payment.duplicate", "SUCCESS")


def test_two_successes_at_the_same_moment_make_one_payer_and_one_duplicate(context: JobContext) -> None:
    for _ in range(5):
        first = accept(context.database)
        learn(context, (first, declined(first)))
        second = accept(context.database, order_id=first.order_id)
        start = Barrier(2)

        def pay(payment: Payment, start: Barrier = start) -> None:
            start.wait(10)
            learn(context, (payment, paid(payment, payment.id.int % 2**40)))

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(pay, [first, second]))
        assert sorted(map(str, reviews(context, first, second))) == ["None", "duplicate_order"]


def test_the_payer_of_an_order_told_twice_is_no_duplicate_of_itself(context: JobContext) -> None:
    payment = accept(context.database)
    for _ in range(2):
        learn(context, (payment, paid(payment, 1)), (payment, paid(payment, 1)))
    assert reviews(context, payment) == [None]
    assert event_types(context.database) == ["payment.succeeded"]


def test_money_that_does_not_fit_does_not_count_as_having_paid_the_order(context: JobContext) -> None:
    first, second = two_payments_of_one_order(context)
    wrong = Charged(
        reference=first.reference,
        asked=1,
        received=1,
        currency="NGN",
        transaction_id=1,
        paid_at=None,
        instrument=Instrument(),
        response={},
    )
    learn(context, (first, wrong), (second, paid(second, 2)))
    assert reviews(context, first, second) == ["amount_mismatch", None]


@pytest.mark.parametrize("failed", [True, False])
def test_a_payment_that_is_over_lets_go_of_its_order_only(context: JobContext, failed: bool) -> None:
    over, other = accept(context.database), accept(context.database)
    fact = declined(over) if failed else NotPaid(over.reference, expired=True)
    learn(context, (over, fact))
    assert rows(context.database, "SELECT payment_id FROM live_orders") == [(other.id,)]
    accept(context.database, order_id=over.order_id)
    with pytest.raises(LiveOrderError):
        try_to_accept(context.database, order_id=other.order_id)


def test_a_late_failure_of_the_first_payment_leaves_the_order_to_the_second(context: JobContext) -> None:
    first, second = two_payments_of_one_order(context)
    learn(context, (second, paid(second, 2)))
    learn(context, (first, declined(first)))
    assert rows(context.database, "SELECT payment_id, paid FROM live_orders") == [(second.id, True)]


def test_a_payment_that_failed_and_succeeded_in_one_batch_keeps_the_order_it_has_paid(context: JobContext) -> None:
    payment = accept(context.database, order_id="shared")
    learn(context, (payment, declined(payment)), (payment, paid(payment, 1)))
    assert payment_now(context.database, payment.id).status is PaymentStatus.SUCCESS
    with pytest.raises(LiveOrderError):
        try_to_accept(context.database, order_id="shared")


def test_money_that_is_flagged_beside_a_success_does_not_lose_its_answer(context: JobContext) -> None:
    payment = accept(context.database)
    first = replace(paid(payment, 1), response={"id": 1, "amount": 50_000})
    learn(context, (payment, first), (payment, paid(payment, 2)))
    assert reviews(context, payment) == ["paid_twice"]
    assert rows(context.database, "SELECT gateway_response FROM payments") == [({"id": 1, "amount": 50_000},)]
