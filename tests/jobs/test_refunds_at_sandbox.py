"""Refunds against a Paystack that keeps its own book: it and ours agree, whatever was lost on the way."""

import gc
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests
from werkzeug.serving import make_server

from db.connection import Database
from domain.ids import Prefix, show
from domain.money import Currency
from domain.payment import Payment, PaymentStatus
from ingress import app as application
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.webhooks import apply_webhooks
from sandbox.harness import RunningSandbox, WebhookCatcher, catching_webhooks, running_sandbox
from sandbox.world import Options
from tests.ingress.conftest import bearer, token
from tests.refunding import ask_refund, pass_time
from tests.stories import SECRET_KEY, accept, event_body, job_ids, payment_now, rows, settings_for, store_webhook

# The exception of a lost answer holds its socket in a cycle, and Python calls what it collects there unclosed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

PRICE = 500_000
CARD_WHOSE_REFUNDS_FAIL = "4084080000671803"


@pytest.fixture
def catcher() -> Generator[WebhookCatcher]:
    with catching_webhooks() as catching:
        yield catching


@pytest.fixture
def sandbox(catcher: WebhookCatcher) -> Generator[RunningSandbox]:
    with running_sandbox(Options(seed=7, secret_key=SECRET_KEY, webhook_url=catcher.url)) as running:
        running.control("clock", {"freeze": True})
        yield running


@pytest.fixture
def at_sandbox(context: JobContext, sandbox: RunningSandbox) -> Generator[JobContext]:
    yield replace(context, paystack=Paystack(Transport(sandbox.url, SECRET_KEY)))
    gc.collect()


@pytest.fixture
def service_url(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """The HTTP edge behind a server with a thread for each request."""
    closers: list[Callable[[], object]] = []
    monkeypatch.setattr(application.atexit, "register", closers.append)
    app = application.create_app(settings_for(migrated_url))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    for close in closers:
        close()


def paid(context: JobContext, sandbox: RunningSandbox, *, card: str | None = None) -> Payment:
    """A payment that went through both books."""
    payment = accept(context.database, amount=PRICE, currency=Currency.NGN)
    initialize_payments(context, job_ids(context.database))
    transaction = sandbox.control(f"transactions/{payment.reference}/pay", {"card": card} if card else {})[
        "transaction"
    ]
    store_webhook(context.database, event_body("charge.success", transaction))
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    return after


def send_all(context: JobContext, sandbox: RunningSandbox, *, seconds: float, rounds: int = 300) -> None:
    """Run every job that sends, two processes' worth at a time, until none is left; time passes in between."""
    for _ in range(rounds):
        ids = job_ids(context.database, "send_refund")
        if not ids:
            return
        with ThreadPoolExecutor(2) as processes:
            for run in [processes.submit(send_refunds, context, ids) for _ in range(2)]:
                run.result()
        pass_time(context.database, seconds)
    raise AssertionError(rows(context.database, "SELECT state, failures, last_error FROM jobs"))


def look_at_all(context: JobContext, sandbox: RunningSandbox) -> None:
    sandbox.control("clock", {"advance_seconds": 60})
    for _ in range(20):
        pass_time(context.database, 7 * 3600)
        check_refunds(context, job_ids(context.database, "check_refund"))
        if not job_ids(context.database, "check_refund"):
            return
    raise AssertionError(rows(context.database, "SELECT state, failures, last_error FROM jobs"))


def in_sandbox(sandbox: RunningSandbox) -> list[tuple[str, int]]:
    """The refunds of the sandbox's own book: note and amount."""
    return sorted((refund["merchant_note"], refund["amount"]) for refund in sandbox.control("book")["refunds"])


def in_ours(database: Database) -> list[tuple[str, int]]:
    """The refunds of our book that did not fail."""
    alive = rows(database, "SELECT id, amount FROM refunds WHERE status <> 'FAILED'")
    return sorted((f"Payfleet {show(Prefix.REFUND, refund_id)}", amount) for refund_id, amount in alive)


def test_fifty_refunds_asked_for_at_once_give_back_what_was_paid_and_no_more(
    at_sandbox: JobContext, sandbox: RunningSandbox, service_url: str
) -> None:
    payment = paid(at_sandbox, sandbox)
    url = f"{service_url}/payments/{show(Prefix.PAYMENT, payment.id)}/refund"
    headers = bearer(token("support-1", ["support"]))

    def ask(_: int) -> int:
        return requests.post(url, json={"amount": 19_000}, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(50) as clients:
        answers = Counter(clients.map(ask, range(50)))
    assert answers == {202: 26, 422: 24}
    assert payment_now(at_sandbox.database, payment.id).refunds_reserved == 26 * 19_000
    send_all(at_sandbox, sandbox, seconds=2)
    assert in_sandbox(sandbox) == in_ours(at_sandbox.database)
    look_at_all(at_sandbox, sandbox)
    now = payment_now(at_sandbox.database, payment.id)
    assert (now.status, now.refunded) == (PaymentStatus.PARTIALLY_REFUNDED, 26 * 19_000)
    assert sandbox.control("book")["transactions"][0]["refunded"] == now.refunded


def test_whatever_is_lost_on_the_way_each_refund_is_made_once(at_sandbox: JobContext, sandbox: RunningSandbox) -> None:
    payments = [paid(at_sandbox, sandbox) for _ in range(3)]
    for kind in ("lost_answer", "garbage", "reset", "error"):
        sandbox.control("faults", {"endpoint": "refund", "kind": kind, "probability": 0.25})
        sandbox.control("faults", {"endpoint": "refund_list", "kind": kind, "probability": 0.05})
    sandbox.control(
        "faults", {"endpoint": "refund", "kind": "error", "after_effect": True, "body": "html", "probability": 0.2}
    )
    for payment in payments:
        for amount in (100_000, 150_000, 250_000):
            ask_refund(at_sandbox.database, payment, amount)
    send_all(at_sandbox, sandbox, seconds=700)
    assert in_sandbox(sandbox) == in_ours(at_sandbox.database)
    assert len(in_sandbox(sandbox)) == 9
    look_at_all(at_sandbox, sandbox)
    assert {payment_now(at_sandbox.database, p.id).status for p in payments} == {PaymentStatus.REFUNDED}
    assert [t["refunded"] for t in sandbox.control("book")["transactions"]] == [PRICE] * 3


def test_a_lost_answer_never_refunds_twice(at_sandbox: JobContext, sandbox: RunningSandbox) -> None:
    payment = paid(at_sandbox, sandbox)
    sandbox.control("faults", {"endpoint": "refund", "kind": "lost_answer", "times": 1})
    ask_refund(at_sandbox.database, payment, 100_000)
    ask_refund(at_sandbox.database, payment, 100_000)  # the same amount: only the note tells them apart
    send_all(at_sandbox, sandbox, seconds=5)
    assert in_sandbox(sandbox) == in_ours(at_sandbox.database)
    assert len(in_sandbox(sandbox)) == 2


def test_the_sandboxs_own_events_bring_a_refund_to_its_end(
    at_sandbox: JobContext, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    payment = paid(at_sandbox, sandbox, card=CARD_WHOSE_REFUNDS_FAIL)
    ask_refund(at_sandbox.database, payment)
    send_all(at_sandbox, sandbox, seconds=5)
    sandbox.control("clock", {"advance_seconds": 60})
    told = [caught for caught in catcher.wait_for(4) if caught.event["event"].startswith("refund.")]
    for caught in reversed(told):
        store_webhook(at_sandbox.database, caught.body)
    apply_webhooks(at_sandbox, job_ids(at_sandbox.database, "apply_webhook"))
    check_refunds(at_sandbox, job_ids(at_sandbox.database, "check_refund"))
    assert rows(at_sandbox.database, "SELECT status::text, failure_code FROM refunds") == [
        ("FAILED", "PAYSTACK_API_ERROR")
    ]
    now = payment_now(at_sandbox.database, payment.id)
    assert (now.status, now.refundable) == (PaymentStatus.SUCCESS, PRICE)
