"""Methods learned from charges: saved when asked for, once for each card, in the transaction that pays the payment."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from db import methods
from domain.payment import Payment, PaymentStatus, Source
from jobs.applying import Learned, apply_facts
from jobs.context import JobContext
from jobs.paystack.wire import Transaction, charged_fact
from jobs.webhooks import apply_webhooks
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    accept,
    active_codes,
    authorization,
    event_body,
    job_ids,
    payment_now,
    rows,
    save_method,
    store_webhook,
    transaction_data,
)

CARD = {"authorization_code": AUTHORIZATION_CODE, "reusable": True, "signature": "SIG_ada", "channel": "card"}


def pay(context: JobContext, payment: Payment, card: dict[str, Any] | None = None, **changes: Any) -> None:
    """Hear from Paystack that a payment was paid with this card."""
    raw = transaction_data(payment, authorization=CARD if card is None else card, id=payment.id.int % 2**40, **changes)
    fact = charged_fact(Transaction.model_validate(raw), raw)
    with context.database.transaction() as tx:
        apply_facts(context, tx, [Learned(payment.id, fact, Source.WEBHOOK, "req_1")])


def test_a_card_is_saved_when_its_payment_asked_for_it(context: JobContext) -> None:
    payment = accept(context.database, save_payment_method=True)
    pay(context, payment)
    assert active_codes(context.database) == [AUTHORIZATION_CODE]
    assert rows(context.database, "SELECT user_id, is_default, signature FROM payment_methods") == [
        ("user-1", True, "SIG_ada")
    ]


def test_a_webhook_saves_the_card_too_and_only_once(context: JobContext) -> None:
    payment = accept(context.database, save_payment_method=True)
    for seconds in (1, 2):
        data = transaction_data(payment, authorization=CARD, paid_at=f"2026-03-01T12:00:0{seconds}.000Z")
        store_webhook(context.database, event_body("charge.success", data))
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


@pytest.mark.parametrize(
    ("saves", "card", "customer"),
    [
        (False, CARD, {"email": EMAIL}),
        (True, {**CARD, "reusable": False}, {"email": EMAIL}),
        (True, {**CARD, "authorization_code": None}, {"email": EMAIL}),
        (True, {}, {"email": EMAIL}),
        (True, CARD, {}),
    ],
    ids=["not asked for", "not reusable", "no code", "mobile money", "nobody's"],
)
def test_what_was_not_asked_for_or_cannot_be_used_is_not_saved(
    context: JobContext, saves: bool, card: dict[str, Any], customer: dict[str, Any]
) -> None:
    payment = accept(context.database, save_payment_method=saves)
    pay(context, payment, card, customer=customer)
    assert payment_now(context.database, payment.id).status is PaymentStatus.SUCCESS
    assert active_codes(context.database) == []


def test_money_that_does_not_fit_saves_nothing(context: JobContext) -> None:
    payment = accept(context.database, save_payment_method=True)
    pay(context, payment, requested_amount=1, amount=1)
    assert active_codes(context.database) == []


def test_a_card_saved_before_keeps_its_method_and_gets_the_newest_code(context: JobContext) -> None:
    method = save_method(context.database, authorization("AUTH_older"))
    pay(context, accept(context.database, save_payment_method=True), customer={"email": EMAIL.upper()})
    assert active_codes(context.database) == [AUTHORIZATION_CODE]
    assert rows(context.database, "SELECT id FROM payment_methods") == [(method.id,)]


def test_the_same_card_of_another_address_is_another_method(context: JobContext) -> None:
    save_method(context.database)
    card = {**CARD, "authorization_code": "AUTH_work"}
    pay(context, accept(context.database, save_payment_method=True), card, customer={"email": "ada@work.example"})
    assert active_codes(context.database) == ["AUTH_work", AUTHORIZATION_CODE]


def test_a_method_that_was_taken_away_is_not_brought_back_by_its_last_charge(context: JobContext) -> None:
    method = save_method(context.database)
    payment = accept(context.database, payment_method_id=method.id)
    with context.database.transaction() as tx:
        methods.deactivate_method(tx, method.id, user_id="user-1")
    pay(context, payment)
    assert payment_now(context.database, payment.id).status is PaymentStatus.SUCCESS
    assert active_codes(context.database) == []


def test_money_that_came_second_for_its_order_still_saves_the_card_it_was_asked_to(context: JobContext) -> None:
    first = accept(context.database, order_id="shared", save_payment_method=True)
    rows(context.database, "UPDATE payments SET status = 'FAILED'")
    rows(context.database, "DELETE FROM live_orders")
    pay(context, accept(context.database, order_id="shared"))
    pay(context, first)
    assert payment_now(context.database, first.id).review_reason == "duplicate_order"
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


def test_a_card_that_paid_many_payments_at_once_is_saved_once(context: JobContext) -> None:
    some = [accept(context.database, save_payment_method=True) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda payment: pay(context, payment), some))
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


def test_batches_over_many_users_do_not_wait_for_each_other_for_ever(context: JobContext) -> None:
    some = [accept(context.database, save_payment_method=True, user_id=f"user-{number % 4}") for number in range(32)]

    def pay_all(batch: list[Payment]) -> None:
        facts: list[Learned] = []
        for payment in batch:
            raw = transaction_data(payment, authorization=CARD, id=payment.id.int % 2**40)
            fact = charged_fact(Transaction.model_validate(raw), raw)
            facts.append(Learned(payment.id, fact, Source.WEBHOOK, "req_1"))
        with context.database.transaction() as tx:
            apply_facts(context, tx, facts)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(pay_all, [some[start * 8 :][:8][:: (-1) ** start] for start in range(4)]))
    assert rows(context.database, "SELECT count(*) FROM payment_methods") == [(4,)]


def test_a_method_no_key_opens_any_more_is_left_alone(context: JobContext) -> None:
    save_method(context.database)
    rows(context.database, "UPDATE payment_methods SET email_sealed = 'nonsense'")
    pay(context, accept(context.database, save_payment_method=True))
    assert rows(context.database, "SELECT count(*) FROM payment_methods WHERE status = 'ACTIVE'") == [(2,)]
