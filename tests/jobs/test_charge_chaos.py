"""Whatever Paystack does, loses or takes its time over: a saved method is charged at most once, and the books agree."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.payment import Payment
from jobs.context import JobContext
from tests.jobs.charging import CARD, S, charge, is_over, pass_time, run
from tests.jobs.scripted_paystack import Exchange, ScriptedPaystack, Step, keeps_book, refuses, resets, says
from tests.stories import EMAIL, job_ids, payment_now, rows

SETTLES_SECONDS = 300  # what Paystack has begun ends within this time, or waits for its customer for good


@pytest.fixture(autouse=True)
def a_card_at_paystack(paystack: ScriptedPaystack) -> None:
    paystack.authorizations[EMAIL] = [CARD]


def _does(exchange: Exchange, **outcome: str) -> None:
    """Do what the call asks for as Paystack would, a reference only once, and lose the answer."""
    call, paystack = exchange.call, exchange.paystack
    if call.what == "charge_authorization" and call.reference not in paystack.transactions:
        done = paystack.charge(call)
        assert done is not None
        done.update(outcome)
    exchange.hang_up()


def charges_and_is_lost(exchange: Exchange) -> None:
    _does(exchange)


def declines_and_is_lost(exchange: Exchange) -> None:
    _does(exchange, status="failed", gateway_response="Declined")


def takes_its_time(exchange: Exchange) -> None:
    _does(exchange, status="abandoned", ends="success")


def wants_the_customer(exchange: Exchange) -> None:
    _does(exchange, status="abandoned")


def is_under_way(exchange: Exchange) -> None:
    _does(exchange, status="processing", ends="success")


STEPS: dict[str, Step] = {
    "works": keeps_book,
    "is not reached": resets,
    "charges and is lost": charges_and_is_lost,
    "declines and is lost": declines_and_is_lost,
    "takes its time": takes_its_time,
    "is under way": is_under_way,
    "wants the customer": wants_the_customer,
    "a proxy's page": says(502, b"<html>"),
    "throttles": says(429, b"", retry_after="1"),
    "refuses the key": refuses("Invalid key", status=401),
}
PLAN = st.lists(
    st.tuples(st.lists(st.sampled_from(sorted(STEPS)), max_size=2), st.sampled_from([0.0, 5.0, 61.0, 301.0])),
    max_size=8,
)


def let_time_pass(context: JobContext, paystack: ScriptedPaystack, seconds: float) -> None:
    """What Paystack has begun goes on meanwhile."""
    for transaction in paystack.transactions.values():
        transaction["age"] = transaction.get("age", 0) + seconds
        if transaction["age"] >= SETTLES_SECONDS and "ends" in transaction:
            transaction["status"] = transaction.pop("ends")
    pass_time(context.database, seconds)


def charged(paystack: ScriptedPaystack, payment: Payment) -> int:
    """How often money has moved for a payment, under any of its references."""
    return sum(
        transaction["status"] == "success"
        for reference, transaction in paystack.transactions.items()
        if reference.partition(".")[0] == payment.reference
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLAN)
def test_money_moves_at_most_once(
    context: JobContext, paystack: ScriptedPaystack, plan: Sequence[tuple[Sequence[str], float]]
) -> None:
    payment = charge(context.database)
    for steps, seconds in plan:
        paystack.next(*(STEPS[name] for name in steps))
        run(context)
        paystack.forget_script()
        let_time_pass(context, paystack, seconds)
    for _ in range(6):
        if is_over(context):
            break
        run(context)
        let_time_pass(context, paystack, SETTLES_SECONDS + 1)
    let_time_pass(context, paystack, SETTLES_SECONDS)
    assert job_ids(context.database, "charge_payment_method") == []
    assert rows(context.database, "SELECT job_id FROM payment_attempts WHERE outcome = 'unknown'") == []
    status = payment_now(context.database, payment.id).status
    assert charged(paystack, payment) <= 1
    if status is S.PROCESSING:  # its verification or its webhook will tell
        assert charged(paystack, payment) == 1
    else:
        assert (status is S.SUCCESS) is (charged(paystack, payment) == 1), status
