"""What stands in front of Paystack: nothing is sent in vain, and nothing counts as a try while nothing can be sent."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from db.connection import Database
from db.verifications import request_look
from domain.errors import ErrorCode
from domain.money import Currency, Money
from domain.quotas import Endpoint, Lane
from jobs import circuit as circuit_module
from jobs.circuit import FAILURES_MAX, OPEN_SECONDS, Circuit
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.paystack import quota as quota_module
from jobs.paystack.answers import Done, NotNow, NotSent, Refused
from jobs.paystack.client import InitializeRequest, Paystack
from jobs.paystack.gate import PAYSTACK, Gate
from jobs.paystack.quota import Quota
from jobs.paystack.transport import Transport
from jobs.refunds import send_refunds
from jobs.services import Service, Services
from jobs.verify import verify_payments
from tests.jobs.scripted_paystack import Exchange, ScriptedPaystack, Step, keeps_book, refuses, resets, says
from tests.refunding import ask_refund, is_unsettled, pass_time, pay
from tests.stories import SECRET_KEY, accept, job_ids, payment_now, rows

Worker = Callable[[dict[Endpoint, int]], JobContext]

MANY = dict.fromkeys(Endpoint, 1_000_000)


def request(reference: str) -> InitializeRequest:
    money = Money(100, Currency.NGN)
    return InitializeRequest(
        reference=reference, email="a@b.example", money=money, channels=(), callback_url=None, metadata={}
    )


@pytest.fixture
def guarded(context: JobContext, paystack: ScriptedPaystack, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Make the context of one more worker whose calls pass the gate, by its limits."""
    monkeypatch.setattr(circuit_module, "_READ_AGAIN_SECONDS", 0.0)
    account = secrets.token_hex(4)

    def make(limits: dict[Endpoint, int]) -> JobContext:
        gate = Gate(Circuit(context.database, PAYSTACK), Quota(redis_url, limits, account=account))
        return replace(context, paystack=Paystack(Transport(paystack.url, SECRET_KEY), gate))

    return make


def break_down(paystack: ScriptedPaystack, client: Paystack, step: Step = resets) -> None:
    """Have Paystack fail until nothing is sent any more."""
    paystack.next(*[step] * FAILURES_MAX)
    for n in range(FAILURES_MAX):
        client.initialize(request(f"broken-{n}"))
    paystack.calls.clear()


def jobs_now(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT state::text, failures, last_error, run_at > payfleet_now() FROM jobs")


@pytest.mark.parametrize(
    "step",
    [resets, says(500, {"status": False, "message": "oops"}), says(502, b"<html>"), says(200, b"garbage")],
    ids=["reset", "500", "proxy's page", "garbage"],
)
def test_a_paystack_that_fails_is_left_alone_by_every_worker(
    guarded: Worker, paystack: ScriptedPaystack, step: Step
) -> None:
    one, other = guarded(MANY).paystack, guarded(MANY).paystack
    break_down(paystack, one, step)
    for client in (one, other):
        answer = client.initialize(request("later"))
        assert isinstance(answer, NotNow)
        assert 0 < answer.retry_after_seconds <= OPEN_SECONDS
        assert answer.code is ErrorCode.GATEWAY_ERROR
    assert paystack.calls == []


def test_a_refused_key_is_no_payments_fault(guarded: Worker, paystack: ScriptedPaystack) -> None:
    client = guarded(MANY).paystack
    paystack.next(*[says(401, {"status": False, "message": "Invalid key"})] * FAILURES_MAX)
    answers = [client.initialize(request(f"r{n}")) for n in range(FAILURES_MAX + 1)]
    assert [type(answer) for answer in answers] == [NotSent] * FAILURES_MAX + [NotNow]


@pytest.mark.parametrize("step", [refuses("No"), says(429, {"message": "slow"}, x_ratelimit_reset="0")])
def test_an_answer_that_says_no_is_an_answer(guarded: Worker, paystack: ScriptedPaystack, step: Step) -> None:
    client = guarded(MANY).paystack
    paystack.next(*[step] * 2 * FAILURES_MAX)
    for n in range(2 * FAILURES_MAX):
        client.initialize(request(f"r{n}"))
    assert isinstance(client.initialize(request("last")), Done)


def test_when_paystack_is_back_one_call_finds_out_and_all_may_go_on(
    guarded: Worker, context: JobContext, paystack: ScriptedPaystack
) -> None:
    one, other = guarded(MANY).paystack, guarded(MANY).paystack
    break_down(paystack, one)
    pass_time(context.database, OPEN_SECONDS + 1)
    assert isinstance(other.initialize(request("probe")), Done)
    assert isinstance(one.initialize(request("after")), Done)


def test_jobs_wait_out_a_breakdown_without_losing_a_try(guarded: Worker, paystack: ScriptedPaystack) -> None:
    context = guarded(MANY)
    payment = accept(context.database)
    break_down(paystack, context.paystack)
    for _ in range(30):
        ids = job_ids(context.database)
        with context.database.connection() as connection:
            connection.execute("UPDATE jobs SET state = 'sent', sent_at = payfleet_now(), run_at = payfleet_now()")
        initialize_payments(context, ids)
        assert jobs_now(context.database) == [("ready", 0, "Paystack does not answer", True)]
    assert rows(context.database, "SELECT count(*) FROM payment_attempts") == [(0,)]
    assert paystack.calls == []
    pass_time(context.database, 100)
    initialize_payments(context, job_ids(context.database))
    assert payment_now(context.database, payment.id).authorization_url is not None


def test_a_refund_that_cannot_be_sent_now_is_not_taken_for_sent(guarded: Worker, paystack: ScriptedPaystack) -> None:
    context = guarded({**MANY, Endpoint.CREATE_REFUND: 1})
    first, second = (pay(context.database, transaction_id=n) for n in (7001, 7002))
    refunds = [ask_refund(context.database, payment) for payment in (first, second)]
    send_refunds(context, job_ids(context.database, "send_refund"))
    assert len(paystack.refunds) == 1
    assert [is_unsettled(context.database, refund) for refund in refunds].count(True) == 0
    left = [row for row in jobs_now(context.database) if row[2] is not None]
    assert left == [("ready", 0, "Paystack's rate limit is reached", True)]


def test_a_client_waiting_for_a_look_is_told_that_paystack_does_not_answer(
    guarded: Worker, paystack: ScriptedPaystack
) -> None:
    context = guarded(MANY)
    payment = accept(context.database)
    with context.database.connection() as connection:
        request_look(connection, payment.id, correlation_id="req_look")
    break_down(paystack, context.paystack)
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert payment_now(context.database, payment.id).verification_error == ErrorCode.GATEWAY_ERROR


def test_a_burst_beyond_the_quota_is_spread_and_loses_no_try(
    guarded: Worker, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, limit, count = 2, 20, 70
    monkeypatch.setattr(quota_module, "WINDOW_SECONDS", window)
    workers = [guarded({**MANY, Endpoint.INITIALIZE: limit}) for _ in range(2)]
    database = workers[0].database
    for _ in range(count):
        accept(database)
    arrivals: list[float] = []
    broken: list[float] = []

    def counts(exchange: Exchange) -> None:
        now = time.monotonic()
        # A second less than the window: its calls are counted by whole seconds.
        if sum(1 for earlier in arrivals if earlier > now - window + 1) >= limit:
            broken.append(now)
        arrivals.append(now)
        keeps_book(exchange)

    paystack.next(*[counts] * 3 * count)
    rounds = 0
    while ids := job_ids(database):
        rounds += 1
        for start in range(0, len(ids), 20):
            initialize_payments(workers[start // 20 % 2], ids[start : start + 20])
        assert all(failures == 0 for _, failures, *_ in jobs_now(database))
        time.sleep(0.05)
    assert rounds > 2, "the burst was no burst"
    assert len(arrivals) == count, "each payment was sent once"
    assert broken == []


def test_a_429_closes_the_endpoint_and_costs_no_try(guarded: Worker, paystack: ScriptedPaystack) -> None:
    context = guarded(MANY)
    for _ in range(3):
        accept(context.database)
    paystack.next(says(429, {"message": "Rate limit exceeded!"}, x_ratelimit_reset="40", x_ratelimit_limit="7"))
    for job_id in job_ids(context.database):
        initialize_payments(context, [job_id])
    assert len(paystack.calls) == 1
    assert jobs_now(context.database) == [("ready", 0, "Paystack's rate limit is reached", True)] * 3
    assert [usage.limit for usage in _usage(context) if usage.endpoint is Endpoint.INITIALIZE] == [7]
    assert isinstance(context.paystack.verify("another endpoint"), Done)


def _usage(context: JobContext) -> list[quota_module.Usage]:
    gate = context.paystack._gate
    assert gate is not None
    return gate._quota.usage() or []


def test_what_is_not_sent_uses_up_no_quota(guarded: Worker, paystack: ScriptedPaystack) -> None:
    context = guarded(MANY)
    break_down(paystack, context.paystack)
    for n in range(3):
        assert isinstance(context.paystack.verify(f"r{n}"), NotNow)
    pass_time(context.database, OPEN_SECONDS + 1)
    assert isinstance(Circuit(context.database, PAYSTACK).admit(), circuit_module.Pass), "another worker's probe"
    for n in range(3):
        assert isinstance(context.paystack.verify(f"r{n}"), NotNow)
    assert _used(context, Endpoint.VERIFY) == {}


def test_each_kind_of_work_is_counted_in_its_lane(guarded: Worker, paystack: ScriptedPaystack) -> None:
    context = guarded(MANY)
    payment = accept(context.database)
    with context.database.connection() as connection:
        request_look(connection, payment.id, correlation_id="req_look")
    paystack.next(resets)
    initialize_payments(context, job_ids(context.database, "initialize_payment"))
    pass_time(context.database, 10)
    initialize_payments(context, job_ids(context.database, "initialize_payment"))  # asks what became of the first
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert _used(context, Endpoint.INITIALIZE) == {Lane.CHECKOUT: 2}
    assert _used(context, Endpoint.VERIFY) == {Lane.CHECKOUT: 1, Lane.VERIFICATION: 1}
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(resets)
    send_refunds(context, [refund.id])
    pass_time(context.database, 100)
    send_refunds(context, [refund.id])
    assert _used(context, Endpoint.CREATE_REFUND) == {Lane.REFUNDS: 1}
    assert _used(context, Endpoint.LIST_REFUNDS).keys() == {Lane.REFUNDS}


def _used(context: JobContext, endpoint: Endpoint) -> dict[Lane, int]:
    [usage] = [usage for usage in _usage(context) if usage.endpoint is endpoint]
    return {lane: count for lane, count in usage.used.items() if count}


def test_each_service_has_a_circuit_of_its_own(context: JobContext, paystack: ScriptedPaystack) -> None:
    users = Service("http://127.0.0.1:1", Circuit(context.database, "user_service"))
    for _ in range(FAILURES_MAX):
        accept(context.database)
    failing = replace(context, services=Services(users=users))
    for job_id in job_ids(context.database):
        initialize_payments(failing, [job_id])
    pass_time(context.database, 3)
    late = accept(context.database)
    [job] = rows(context.database, "SELECT id FROM jobs WHERE payload->>'payment_id' = %s", str(late.id))
    initialize_payments(failing, [job[0]])
    assert ("ready", 0, "the User Service does not answer", True) in jobs_now(context.database)
    assert isinstance(Circuit(context.database, "order_service").admit(), circuit_module.Pass)
    assert isinstance(Circuit(context.database, PAYSTACK).admit(), circuit_module.Pass)
    assert paystack.calls == []


def test_lanes_are_told_apart_at_the_gate(guarded: Worker, paystack: ScriptedPaystack) -> None:
    client = guarded({**MANY, Endpoint.VERIFY: 20}).paystack
    checkout, looks = client.on(Lane.CHECKOUT), client.on(Lane.VERIFICATION)
    answers = [type(looks.verify(f"r{n}")) for n in range(20)]
    assert answers.count(Done) == 20 - 8 - 1, "what is kept for checkout and reconciliation"
    assert isinstance(checkout.verify("urgent"), Done)
    assert {type(answer) for answer in (looks.verify("again"),)} == {NotNow}
    assert not [call for call in paystack.calls if call.reference == "again"]


def test_a_refusal_is_passed_on_as_it_is(guarded: Worker, paystack: ScriptedPaystack) -> None:
    paystack.next(refuses("Currency not supported by merchant"))
    assert isinstance(guarded(MANY).paystack.initialize(request("r")), Refused)
