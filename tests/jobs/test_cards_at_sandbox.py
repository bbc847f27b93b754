"""Saved cards against the offline Paystack: what it calls reusable, tells of customers, and sends by webhook."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from db import methods
from db.methods import NewMethod
from domain.errors import ErrorCode
from domain.method import MethodStatus, PaymentMethod
from domain.payment import Payment, PaymentStatus
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.methods import check_methods
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.webhooks import apply_webhooks
from sandbox.harness import RunningSandbox, WebhookCatcher, catching_webhooks, running_sandbox
from sandbox.world import Options
from tests.patience import eventually
from tests.stories import EMAIL, accept, active_codes, job_ids, method_now, payment_now, seal, store_webhook

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
    sent = eventually(lambda: [caught for caught in catcher.caught if payment.reference.encode() in caught.body])
    store_webhook(shop.database, sent[0].body)
    apply_webhooks(shop, job_ids(shop.database, "apply_webhook"))
    return payment_now(shop.database, payment.id)


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
