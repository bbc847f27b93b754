"""Saved cards against the offline Paystack: what it calls reusable, tells of customers, and sends by webhook."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from db import methods
from db.jobs import NewJob, enqueue_jobs
from db.methods import NewMethod
from domain.errors import ErrorCode
from domain.jobs import JobKind
from domain.method import MethodStatus, PaymentMethod
from domain.payment import Payment, PaymentStatus
from jobs.charge import charge_payment_methods
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.methods import check_methods, deactivate_methods
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.verify import verify_payments
from jobs.webhooks import apply_webhooks
from sandbox.harness import RunningSandbox, WebhookCatcher, catching_webhooks, running_sandbox
from sandbox.world import Options
from tests.jobs.charging import pass_time
from tests.patience import eventually
from tests.stories import (
    EMAIL,
    accept,
    active_codes,
    authorization,
    job_ids,
    method_now,
    payment_now,
    save_method,
    seal,
    store_webhook,
)

VISA = {"card": "4084084084084081"}


@pytest.fixture
def catcher() -> Generator[WebhookCatcher]:
    with catching_webhooks() as catching:
        yield catching


@pytest.fixture
def sandbox(catcher: WebhookCatcher) -> Generator[RunningSandbox]:
    with running_sandbox(Options(seed=7, webhook_url=catcher.url)) as running:
        yield running


@pytest.fixture
def shop(context: JobContext, sandbox: RunningSandbox) -> JobContext:
    """Payfleet at the sandbox."""
    return replace(context, paystack=Paystack(Transport(sandbox.url, sandbox.secret_key)))


def pay_by_card(shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, **changes: Any) -> Payment:
    """Pay on the page, and take in what Paystack sends of it."""
    payment = accept(shop.database, **changes)
    initialize_payments(shop, job_ids(shop.database))
    sandbox.control(f"transactions/{payment.reference}/pay", VISA)
    take_in(shop, catcher, payment)
    return payment_now(shop.database, payment.id)


def take_in(shop: JobContext, catcher: WebhookCatcher, payment: Payment) -> None:
    """Apply what Paystack sends of a payment."""
    sent = eventually(lambda: [caught for caught in catcher.caught if payment.reference.encode() in caught.body])
    store_webhook(shop.database, sent[0].body)
    apply_webhooks(shop, job_ids(shop.database, "apply_webhook"))


def add_and_check(shop: JobContext, code: str, email: str = EMAIL) -> PaymentMethod:
    new = NewMethod(
        user_id="user-1",
        authorization_sealed=seal().seal(code.encode()),
        email_sealed=seal().seal(email.encode()),
        card_type=None,
    )
    with shop.database.connection() as connection:
        method = methods.accept_method(
            connection, new=new, caller="c", key=None, fingerprint=b"", correlation_id="req_test", trace_context=None
        )
    assert method is not None
    check_methods(shop, job_ids(shop.database, "check_payment_method"))
    return method_now(shop.database, method.id)


def codes_at(sandbox: RunningSandbox) -> list[str]:
    """The codes of every paid transaction, oldest first."""
    transactions = sandbox.control("book")["transactions"]
    return [row["authorization"]["authorization_code"] for row in transactions if row["authorization"]]


def test_a_card_that_paid_is_saved_and_paying_again_brings_its_newest_code(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    for _ in range(2):
        payment = pay_by_card(shop, sandbox, catcher, save_payment_method=True)
        assert payment.status is PaymentStatus.SUCCESS
    first, second = codes_at(sandbox)
    assert first != second
    assert active_codes(shop.database) == [second]


def test_a_code_of_a_payment_can_be_added_by_hand_for_its_own_customer_only(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    pay_by_card(shop, sandbox, catcher)
    pay_by_card(shop, sandbox, catcher, email="eve@example.com")
    own, eves = codes_at(sandbox)
    method = add_and_check(shop, own)
    assert (method.status, method.card_last4, method.card_brand) == (MethodStatus.ACTIVE, "4081", "visa")
    for code, email in ((eves, EMAIL), (own, "eve@example.com"), ("AUTH_none", EMAIL), (own, "nobody@example.com")):
        wrong = add_and_check(shop, code, email)
        assert wrong.failure_code == ErrorCode.PAYSTACK_AUTHORIZATION_INVALID, (code, email)
    again = add_and_check(shop, own, EMAIL.upper())
    assert again.merged_into == method.id


def charge_again(shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, **plan: Any) -> Payment:
    """Save a card with a payment, plan how its next charge goes, and charge it."""
    pay_by_card(shop, sandbox, catcher, save_payment_method=True)
    if plan:
        sandbox.control("charges", plan)
    with shop.database.connection() as connection:
        (method,) = methods.get_active_methods(connection, "user-1")
    payment = accept(shop.database, payment_method_id=method.id)
    charge_now(shop)
    return payment_now(shop.database, payment.id)


def charge_now(shop: JobContext) -> None:
    charge_payment_methods(shop, job_ids(shop.database, "charge_payment_method"))


def paid_at(sandbox: RunningSandbox) -> int:
    """How many transactions have been paid at the sandbox."""
    return [row["status"] for row in sandbox.control("book")["transactions"]].count("success")


def test_a_saved_card_is_charged_without_its_customer_and_keeps_its_newest_code(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    payment = charge_again(shop, sandbox, catcher)
    assert (payment.status, payment.instrument.card_last4) == (PaymentStatus.SUCCESS, "4081")
    first, second = codes_at(sandbox)
    assert active_codes(shop.database) == [second] != [first]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("declined", ErrorCode.PAYMENT_DECLINED), ("insufficient_funds", ErrorCode.INSUFFICIENT_FUNDS)],
)
def test_a_decline_is_told_with_its_reason(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, outcome: str, code: ErrorCode
) -> None:
    payment = charge_again(shop, sandbox, catcher, outcome=outcome)
    assert (payment.status, payment.failure_code) == (PaymentStatus.FAILED, code)


@pytest.mark.parametrize(("outcome", "action"), [("challenged", "open_url"), ("send_otp", "send_otp")])
def test_a_charge_that_wants_its_customer_is_paid_when_they_have_acted(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, outcome: str, action: str
) -> None:
    payment = charge_again(shop, sandbox, catcher, outcome=outcome)
    assert payment.next_action is not None
    assert (payment.status, payment.next_action["type"]) == (PaymentStatus.PENDING, action)
    assert (payment.authorization_url is not None) is (action == "open_url")
    sandbox.control(f"transactions/{payment.reference}/pay", VISA)
    take_in(shop, catcher, payment)
    after = payment_now(shop.database, payment.id)
    assert (after.status, after.next_action) == (PaymentStatus.SUCCESS, None)
    assert len(active_codes(shop.database)) == 1


@pytest.mark.parametrize(("then", "status"), [("success", PaymentStatus.SUCCESS), ("failed", PaymentStatus.FAILED)])
def test_a_pending_charge_is_asked_about_by_itself(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, then: str, status: PaymentStatus
) -> None:
    payment = charge_again(shop, sandbox, catcher, outcome="pending", then=then)
    assert payment.status is PaymentStatus.PROCESSING
    sandbox.control("clock", {"advance_seconds": 10})
    pass_time(shop.database, 11)
    verify_payments(shop, job_ids(shop.database, "verify_payment"))
    assert payment_now(shop.database, payment.id).status is status


@pytest.mark.parametrize("kind", ["lost_answer", "reset", "error", "garbage"])
def test_a_charge_whose_answer_is_lost_is_made_once(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher, kind: str
) -> None:
    sandbox.control("faults", {"endpoint": "charge_authorization", "kind": kind, "times": 1})
    payment = charge_again(shop, sandbox, catcher)
    assert payment.status is PaymentStatus.PENDING
    pass_time(shop.database, 61)
    charge_now(shop)
    assert payment_now(shop.database, payment.id).status is PaymentStatus.SUCCESS
    assert paid_at(sandbox) == 2, "the one that saved the card, and this one"


def test_a_challenge_whose_address_was_lost_is_made_anew_after_its_time(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("faults", {"endpoint": "charge_authorization", "kind": "lost_answer", "times": 1})
    payment = charge_again(shop, sandbox, catcher, outcome="challenged")
    for _ in range(3):
        pass_time(shop.database, 61)
        charge_now(shop)
    assert paid_at(sandbox) == 1
    pass_time(shop.database, 300)
    charge_now(shop)
    charge_now(shop)
    after = payment_now(shop.database, payment.id)
    assert (after.status, after.reference) == (PaymentStatus.SUCCESS, f"{payment.reference}.2")
    assert paid_at(sandbox) == 2


def test_a_code_charged_with_another_address_ends_the_payment_and_the_method(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    pay_by_card(shop, sandbox, catcher)
    (code,) = codes_at(sandbox)
    method = save_method(shop.database, authorization(code, email="eve@example.com"))
    payment = accept(shop.database, payment_method_id=method.id)
    charge_now(shop)
    assert payment_now(shop.database, payment.id).failure_code == ErrorCode.PAYSTACK_AUTHORIZATION_INVALID
    assert method_now(shop.database, method.id).status is MethodStatus.INACTIVE


def test_a_card_that_was_taken_away_is_charged_no_more_at_paystack_either(
    shop: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    pay_by_card(shop, sandbox, catcher, save_payment_method=True)
    with shop.database.transaction() as tx:
        (method,) = methods.get_active_methods(tx, "user-1")
        methods.lock_user(tx, "user-1")
        methods.deactivate_method(tx, method.id, user_id="user-1")
        payload = {"payment_method_id": str(method.id)}
        job = NewJob(kind=JobKind.DEACTIVATE_PAYMENT_METHOD, payload=payload, correlation_id="req_test")
        enqueue_jobs(tx, [job])
    deactivate_methods(shop, job_ids(shop.database, "deactivate_payment_method"))
    assert job_ids(shop.database, "deactivate_payment_method") == []
    (code,) = codes_at(sandbox)
    assert add_and_check(shop, code).failure_code == ErrorCode.PAYSTACK_AUTHORIZATION_INVALID
