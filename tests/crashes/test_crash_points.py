"""Wherever a worker dies or is cut off: started again, its jobs end right, and money has moved once.

Each sweep grows with the code, since it goes on until a process comes to its end. What it leaves behind is put right by
nothing but the passing of time, the janitor and new deliveries; then our books are held against Paystack's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from db import methods
from db.connection import Database
from db.jobs import NewJob, enqueue_jobs
from db.methods import NewMethod
from db.verifications import request_look
from domain.jobs import JobKind
from domain.method import MethodStatus, PaymentMethod
from domain.money import Currency, Money
from domain.payment import Payment
from domain.refund import Refund, RefundStatus
from jobs.context import JobContext
from jobs.paystack.answers import Done
from jobs.paystack.client import InitializeRequest
from tests.crashing import Touches, patiently, sweep
from tests.quiet import Shop, disagreements
from tests.refunding import ask_refund, refund_now
from tests.stories import (
    accept,
    authorization,
    event_body,
    history_of,
    job_ids,
    method_now,
    payment_now,
    save_method,
    seal,
    store_webhook,
)
from workers.actors import USE_CASES

PRICE = 500_000
CARD = {"card": "4084084084084081"}
K = JobKind
_CUSTOMERS, _REFERENCES = count(1), count(1)
INITIALIZED = ("payment.initialized", "PENDING")
SUCCEEDED = ("payment.succeeded", "SUCCESS")
FAILED = ("payment.failed", "FAILED")


@dataclass
class Work:
    """One message's jobs, and what they are about."""

    ids: Sequence[UUID] = ()
    payments: list[Payment] = field(default_factory=list[Payment])
    refunds: list[Refund] = field(default_factory=list[Refund])
    methods: list[PaymentMethod] = field(default_factory=list[PaymentMethod])


def new_jobs(database: Database, kind: JobKind, make: Callable[[], Any]) -> list[UUID]:
    """Which jobs of a kind something makes."""
    before = set(job_ids(database, kind))
    make()
    return sorted(set(job_ids(database, kind)) - before)


def accept_three(shop: Shop) -> Work:
    made = [accept(shop.database, amount=PRICE) for _ in range(3)]
    return Work([p.id for p in made], made)


def open_three(shop: Shop) -> Work:
    """Three customers at their checkout pages."""
    work = accept_three(shop)
    shop.run(K.INITIALIZE_PAYMENT, work.ids)
    return work


def pay(shop: Shop, payment: Payment, **how: Any) -> dict[str, Any]:
    return shop.sandbox.control(f"transactions/{payment.reference}/pay", CARD | how)["transaction"]


def ask_about(shop: Shop, payments: Sequence[Payment]) -> None:
    with shop.database.connection() as connection:
        for payment in payments:
            request_look(connection, payment.id, correlation_id="req_look")


def verify_three(shop: Shop) -> Work:
    work = open_three(shop)
    paid, failed, _ = work.payments
    pay(shop, paid)
    pay(shop, failed, outcome="failed")
    work.ids = new_jobs(shop.database, K.VERIFY_PAYMENT, lambda: ask_about(shop, work.payments))
    return work


def pay_three(shop: Shop) -> Work:
    """Three payments that are in both books."""
    work = open_three(shop)
    for payment in work.payments:
        pay(shop, payment)
    shop.run(K.VERIFY_PAYMENT, new_jobs(shop.database, K.VERIFY_PAYMENT, lambda: ask_about(shop, work.payments)))
    work.payments = [payment_now(shop.database, p.id) for p in work.payments]
    return work


def refund_four(shop: Shop) -> Work:
    """Refunds of three payments; one of them waits its turn."""
    work = pay_three(shop)
    first, second, third = work.payments
    asked = ((first, 200_000), (first, None), (second, None), (third, 100_000))
    work.refunds = [ask_refund(shop.database, payment, amount) for payment, amount in asked]
    work.ids = [refund.id for refund in work.refunds]
    return work


def follow_three(shop: Shop) -> Work:
    """Refunds that Paystack has come to an end with, and nobody knows."""
    work = pay_three(shop)
    work.refunds = [ask_refund(shop.database, payment) for payment in work.payments]
    looks = new_jobs(
        shop.database, K.CHECK_REFUND, lambda: shop.run(K.SEND_REFUND, [refund.id for refund in work.refunds])
    )
    shop.pass_time(61)
    work.ids = looks
    return work


def hear_three(shop: Shop) -> Work:
    """Events of Paystack's: two payments, and a hint at a refund."""
    work = open_three(shop)
    refunded = pay_three(shop).payments[0]
    work.refunds = [ask_refund(shop.database, refunded, 100_000)]
    shop.run(K.SEND_REFUND, [work.refunds[0].id])
    bodies = [event_body("charge.success", pay(shop, payment)) for payment in work.payments[:2]]
    bodies.append(event_body("refund.processed", {"transaction_reference": refunded.reference, "domain": "test"}))
    work.ids = new_jobs(shop.database, K.APPLY_WEBHOOK, lambda: [store_webhook(shop.database, body) for body in bodies])
    return work


def code_of_a_card(shop: Shop, email: str) -> str:
    """Have a customer pay once, elsewhere; returns what Paystack calls their card since."""
    reference = f"elsewhere-{next(_REFERENCES)}"
    request = InitializeRequest(
        reference=reference, email=email, money=Money(PRICE, Currency.NGN), channels=(), callback_url=None, metadata={}
    )
    shop.context.paystack.initialize(request)
    transaction = shop.sandbox.control(f"transactions/{reference}/pay", CARD)["transaction"]
    return transaction["authorization"]["authorization_code"]


def customer() -> str:
    return f"customer-{next(_CUSTOMERS)}@example.com"


def charge_three(shop: Shop) -> Work:
    """Saved cards: one that pays, one that is declined, one whose bank takes its time."""
    work = Work()
    for outcome in ("success", "declined", "pending"):
        email = customer()
        card = save_method(shop.database, authorization(code_of_a_card(shop, email), email=email), user_id=email)
        shop.sandbox.control("charges", {"outcome": outcome, "email": email})
        work.payments.append(accept(shop.database, user_id=email, payment_method_id=card.id))
    work.ids = [payment.id for payment in work.payments]
    return work


def add_three_methods(shop: Shop) -> Work:
    """One card twice, and a code that is nobody's."""
    email = customer()
    code = code_of_a_card(shop, email)
    work = Work()
    for given in (code, code, "AUTH_none"):
        new = NewMethod(
            user_id=email,
            authorization_sealed=seal().seal(given.encode()),
            email_sealed=seal().seal(email.encode()),
            card_type=None,
        )
        with shop.database.connection() as connection:
            method = methods.accept_method(
                connection, new=new, caller="c", key=None, fingerprint=b"", correlation_id="r", trace_context=None
            )
        assert method is not None
        work.methods.append(method)
    work.ids = [method.id for method in work.methods]
    return work


def take_two_methods_away(shop: Shop) -> Work:
    """Saved cards that their owner has taken away."""
    work = Work()
    for _ in range(2):
        email = customer()
        card = save_method(shop.database, authorization(code_of_a_card(shop, email), email=email), user_id=email)
        with shop.database.transaction() as tx:
            methods.lock_user(tx, email)
            methods.deactivate_method(tx, card.id, user_id=email)
            kind = K.DEACTIVATE_PAYMENT_METHOD
            payload = {"payment_method_id": str(card.id)}
            enqueue_jobs(tx, [NewJob(kind=kind, payload=payload, id=card.id, correlation_id="req_away")])
        work.methods.append(card)
    work.ids = [card.id for card in work.methods]
    return work


def story(shop: Shop, payment: Payment) -> list[tuple[str, str]]:
    """A payment's timeline after its acceptance."""
    accepted, *rest = history_of(shop.database, payment.id)
    assert accepted == ("payment.accepted", "PENDING")
    return rest


def customers_can_pay(shop: Shop, work: Work) -> None:
    for payment in work.payments:
        assert story(shop, payment) == [INITIALIZED]
        now = payment_now(shop.database, payment.id)
        assert now.reference in {payment.reference, f"{payment.reference}.2"}, "one that was lost is made anew, once"
        (transaction,) = shop.sandbox.control(f"book?reference={now.reference}")["transactions"]
        assert transaction["authorization_url"] == now.authorization_url


def charged_once(shop: Shop, work: Work) -> None:
    paid, declined, slow = work.payments
    assert story(shop, paid) == [SUCCEEDED]
    assert story(shop, declined) == [FAILED]
    assert [step for step in story(shop, slow) if step != ("payment.processing", "PROCESSING")] == [SUCCEEDED]


def found_out(shop: Shop, work: Work) -> None:
    paid, failed, waiting = work.payments
    assert story(shop, paid) == [INITIALIZED, SUCCEEDED]
    assert story(shop, failed) == [INITIALIZED, FAILED]
    assert story(shop, waiting) == [INITIALIZED]


def given_back(shop: Shop, work: Work) -> None:
    for refund in work.refunds:
        assert refund_now(shop.database, refund.id).status is RefundStatus.SUCCESS
    for payment in work.payments:
        facts = [fact for fact, _ in history_of(shop.database, payment.id)]
        refunds = sum(refund.payment_id == payment.id for refund in work.refunds)
        assert facts.count("refund.requested") == facts.count("refund.succeeded") == refunds
        assert facts.count("refund.processing") <= refunds, "a lost answer may be found when it is over already"


def heard(shop: Shop, work: Work) -> None:
    first, second, _ = work.payments
    assert story(shop, first) == story(shop, second) == [INITIALIZED, SUCCEEDED]
    assert refund_now(shop.database, work.refunds[0].id).status is RefundStatus.SUCCESS


def saved_once(shop: Shop, work: Work) -> None:
    first, second, nobodys = (method_now(shop.database, method.id) for method in work.methods)
    active, merged = (first, second) if first.status is MethodStatus.ACTIVE else (second, first)
    assert (active.status, merged.status) == (MethodStatus.ACTIVE, MethodStatus.INACTIVE)
    assert (active.is_default, merged.merged_into) == (True, active.id)
    assert nobodys.status is MethodStatus.REJECTED


def charged_no_more(shop: Shop, work: Work) -> None:
    for method in work.methods:
        answer = shop.context.paystack.fetch_customer(method.user_id)
        assert isinstance(answer, Done)
        assert answer.data is not None
        assert answer.data.authorizations == ()


Prepare = Callable[[Shop], Work]
Check = Callable[[Shop, Work], None]


@pytest.mark.parametrize(
    ("kind", "prepare", "check", "touches_min"),
    [
        (K.INITIALIZE_PAYMENT, accept_three, customers_can_pay, 6),
        (K.CHARGE_PAYMENT_METHOD, charge_three, charged_once, 6),
        (K.VERIFY_PAYMENT, verify_three, found_out, 7),
        (K.SEND_REFUND, refund_four, given_back, 6),
        (K.CHECK_REFUND, follow_three, given_back, 6),
        (K.APPLY_WEBHOOK, hear_three, heard, 2),
        (K.CHECK_PAYMENT_METHOD, add_three_methods, saved_once, 6),
        (K.DEACTIVATE_PAYMENT_METHOD, take_two_methods_away, charged_no_more, 5),
    ],
)
def test_wherever_a_worker_goes_wrong_its_jobs_end_right(
    shop: Shop,
    process: JobContext,
    touches: Touches,
    kind: JobKind,
    prepare: Prepare,
    check: Check,
    touches_min: int,
) -> None:
    def act(work: Work) -> None:
        patiently(lambda: USE_CASES[kind](process, work.ids))

    left = list(sweep(touches, lambda: prepare(shop), act))
    assert len(left) >= 3 * touches_min, "each call and each commit of a batch"
    shop.run_to_quiet()
    problems = disagreements(shop)
    for went_wrong, work in left:
        try:
            check(shop, work)
        except AssertionError as error:
            problems.append(f"{went_wrong}: {error}")
    assert not problems, "\n".join(problems)
