"""The User and the Order Service are asked before Paystack is: their "no" ends a payment, their silence delays it."""

import json
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from domain.errors import ErrorCode
from domain.payment import Payment, PaymentStatus
from jobs import services
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.services import Service, Services
from tests.jobs.scripted_paystack import ScriptedPaystack, does_it_and_resets, resets
from tests.jobs.test_verify import pass_time
from tests.stories import accept, event_types, history_of, job_ids, payment_now, rows

USER = {"userId": "user-1", "status": "active"}


class Shop:
    """Both services on one address: what they know, what they were asked, and what goes wrong next."""

    def __init__(self) -> None:
        self.users: dict[str, Any] = {"user-1": USER}
        self.orders: dict[str, Any] = {}
        self.asked: list[str] = []
        self.request_ids: list[str | None] = []
        self.instead: deque[tuple[int, bytes] | threading.Event] = deque()
        self.url = ""

    def knows(self, payment: Payment, **changes: Any) -> None:
        self.orders[payment.order_id] = {
            "orderId": payment.order_id,
            "amount": payment.money.amount,
            "currency": payment.money.currency.value,
            "status": "open",
            **changes,
        }

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.instead:
            step = self.instead.popleft()
            if isinstance(step, threading.Event):
                step.wait(30)
                return 200, b""
            return step
        _, kind, name = path.split("/")
        found = (self.users if kind == "users" else self.orders).get(unquote(name))
        return (404, b"{}") if found is None else (200, json.dumps(found).encode())


@pytest.fixture
def shop() -> Generator[Shop]:
    knowing = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            knowing.asked.append(self.path)
            knowing.request_ids.append(self.headers["X-Request-Id"])
            status, body = knowing.answer(self.path)
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        knowing.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield knowing
        server.shutdown()
        thread.join()


@pytest.fixture
def asking(context: JobContext, shop: Shop) -> JobContext:
    """The context of a worker that asks both services."""
    return replace(context, services=Services(users=Service(shop.url), orders=Service(shop.url + "/")))


def run(context: JobContext) -> None:
    initialize_payments(context, job_ids(context.database))


def test_a_user_who_may_pay_an_open_order_gets_the_page(
    asking: JobContext, shop: Shop, paystack: ScriptedPaystack
) -> None:
    payment = accept(asking.database)
    shop.knows(payment, userId="user-1")
    run(asking)
    assert payment_now(asking.database, payment.id).authorization_url is not None
    assert shop.asked == ["/users/user-1", f"/orders/{payment.order_id}"]
    assert shop.request_ids == ["req_test"] * 2, "the request can be followed into the services"


REFUSALS: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, ErrorCode, str]] = {
    "no user": (None, {}, ErrorCode.USER_NOT_FOUND, "user_service"),
    "suspended user": ({**USER, "status": "suspended"}, {}, ErrorCode.USER_NOT_ACTIVE, "user_service"),
    "no order": (USER, None, ErrorCode.ORDER_NOT_FOUND, "order_service"),
    "other amount": (USER, {"amount": 49_999}, ErrorCode.ORDER_MISMATCH, "order_service"),
    "other currency": (USER, {"currency": "GHS"}, ErrorCode.ORDER_MISMATCH, "order_service"),
    "other user": (USER, {"userId": "user-2"}, ErrorCode.ORDER_MISMATCH, "order_service"),
    "paid order": (USER, {"status": "paid"}, ErrorCode.ORDER_ALREADY_PAID, "order_service"),
    "cancelled order": (USER, {"status": "cancelled"}, ErrorCode.ORDER_ALREADY_PAID, "order_service"),
}


@pytest.mark.parametrize(("user", "order", "code", "source"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_no_fails_the_payment_and_paystack_never_hears_of_it(
    asking: JobContext,
    shop: Shop,
    paystack: ScriptedPaystack,
    user: dict[str, Any] | None,
    order: dict[str, Any] | None,
    code: ErrorCode,
    source: str,
) -> None:
    payment = accept(asking.database)
    shop.users = {} if user is None else {"user-1": user}
    if order is not None:
        shop.knows(payment, **order)
    run(asking)
    after = payment_now(asking.database, payment.id)
    assert (after.status, after.failure_code) == (PaymentStatus.FAILED, code)
    assert after.failure_message
    assert paystack.calls == []
    assert job_ids(asking.database) == []
    assert event_types(asking.database) == ["payment.failed"]
    assert history_of(asking.database, payment.id)[-1] == ("payment.failed", "FAILED")
    assert rows(asking.database, "SELECT source FROM payment_history WHERE version = 2") == [(source,)]
    assert rows(asking.database, "SELECT outcome::text FROM payment_attempts") == [("not_sent",)]
    assert rows(asking.database, "SELECT count(*) FROM live_orders") == [(0,)], "the order is free again"


UNANSWERED: dict[str, tuple[int, bytes]] = {
    "5xx": (503, b""),
    "not allowed": (401, b"{}"),
    "redirect": (302, b""),
    "page": (200, b"<html>"),
    "list": (200, b"[]"),
    "lacking": (200, b'{"userId": "user-1"}'),
    "another user": (200, b'{"userId": "user-2", "status": "active"}'),
    "endless": (200, b" " * 1_000_000),
}


@pytest.mark.parametrize("answer", UNANSWERED.values(), ids=UNANSWERED.keys())
def test_without_a_usable_answer_nothing_is_sent_and_the_job_tries_again(
    asking: JobContext, shop: Shop, paystack: ScriptedPaystack, answer: tuple[int, bytes]
) -> None:
    payment = accept(asking.database)
    shop.knows(payment)
    shop.instead.extend([answer] * 2)
    run(asking)
    assert payment_now(asking.database, payment.id).status is PaymentStatus.PENDING
    assert paystack.calls == []
    ((state, failures, error),) = rows(asking.database, "SELECT state::text, failures, last_error FROM jobs")
    assert (state, failures) == ("ready", 1)
    assert error.startswith("the User Service: ")
    shop.instead.clear()
    pass_time(asking.database, 2)
    run(asking)
    assert payment_now(asking.database, payment.id).authorization_url is not None
    assert [what for what, _ in paystack.asked] == ["initialize"], "nothing was sent, so nothing is asked about"


@pytest.mark.parametrize(
    "order",
    [{"amount": 50_000.0}, {"amount": "50000"}, {"status": "on hold"}, {"orderId": "another"}, {"currency": None}],
    ids=str,
)
def test_an_order_that_cannot_be_read_is_no_answer(asking: JobContext, shop: Shop, order: dict[str, Any]) -> None:
    payment = accept(asking.database)
    shop.knows(payment, **order)
    run(asking)
    assert payment_now(asking.database, payment.id).status is PaymentStatus.PENDING
    ((error,),) = rows(asking.database, "SELECT last_error FROM jobs")
    assert error.startswith("the Order Service: ")


def test_a_passing_fault_is_got_over_on_the_spot(asking: JobContext, shop: Shop) -> None:
    payment = accept(asking.database)
    shop.knows(payment)
    shop.instead.append((503, b""))
    run(asking)
    assert payment_now(asking.database, payment.id).authorization_url is not None


def test_a_service_that_keeps_silent_is_given_up(
    asking: JobContext, shop: Shop, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_READ_TIMEOUT_SECONDS", 0.2)
    payment = accept(asking.database)
    silence = threading.Event()
    shop.instead.extend([silence, silence])
    run(asking)
    silence.set()
    assert payment_now(asking.database, payment.id).status is PaymentStatus.PENDING
    assert paystack.calls == []


def test_where_nobody_listens_the_job_tries_again(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    run(replace(context, services=Services(orders=Service("http://127.0.0.1:1"))))
    assert payment_now(context.database, payment.id).status is PaymentStatus.PENDING
    assert paystack.calls == []


def test_after_a_lost_answer_paystack_is_asked_and_not_the_services(
    asking: JobContext, shop: Shop, paystack: ScriptedPaystack
) -> None:
    payment = accept(asking.database)
    shop.knows(payment)
    paystack.next(does_it_and_resets)
    run(asking)
    shop.knows(payment, status="cancelled")
    asked = len(shop.asked)
    paystack.transactions[payment.reference] |= {"status": "failed"}
    pass_time(asking.database, 2)
    run(asking)
    assert len(shop.asked) == asked
    assert paystack.asked[-1] == ("verify", payment.reference)


def test_what_never_arrived_is_sent_again_without_asking_the_services_anew(
    asking: JobContext, shop: Shop, paystack: ScriptedPaystack
) -> None:
    payment = accept(asking.database)
    shop.knows(payment)
    paystack.next(resets)
    run(asking)
    pass_time(asking.database, 2)
    run(asking)
    assert payment_now(asking.database, payment.id).authorization_url is not None
    assert len(shop.asked) == 2


@pytest.mark.parametrize("name", ["a/../b", "a b?c#d", "ü/%2F", "x" * 255])
def test_names_stay_one_segment_of_the_path(asking: JobContext, shop: Shop, name: str) -> None:
    payment = accept(asking.database, user_id=name)
    shop.users = {name: {"userId": name, "status": "active"}}
    shop.knows(payment)
    run(asking)
    assert payment_now(asking.database, payment.id).authorization_url is not None


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_is_a_step_in_the_path_is_nobodys(asking: JobContext, shop: Shop, name: str) -> None:
    payment = accept(asking.database, user_id=name)
    run(asking)
    assert payment_now(asking.database, payment.id).failure_code == ErrorCode.USER_NOT_FOUND
    assert shop.asked == []


def test_a_service_that_is_not_there_is_not_asked(context: JobContext, shop: Shop) -> None:
    payment = accept(context.database)
    run(replace(context, services=Services(users=Service(shop.url))))
    assert payment_now(context.database, payment.id).authorization_url is not None
    assert shop.asked == ["/users/user-1"]
    assert Services(users=Service(shop.url)).off == ["ORDER_SERVICE_URL"]
