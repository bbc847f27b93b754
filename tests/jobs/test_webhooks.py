"""Applying Paystack's events: whatever comes, however often and in whatever order, the right payment moves once."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL, Identifier

from db.connection import Database
from domain.ids import reference_of
from domain.payment import Payment, PaymentStatus
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.webhooks import apply_webhooks
from tests.jobs.scripted_paystack import ScriptedPaystack
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
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

Told = tuple[str, dict[str, Any]]


def success(payment: Payment, **changes: Any) -> Told:
    return "charge.success", transaction_data(payment, **changes)


def failure(payment: Payment, **changes: Any) -> Told:
    data = transaction_data(payment, status="failed", gateway_response="Declined", paid_at=None, **changes)
    return "charge.failed", data


def receive(context: JobContext, *told: Told) -> None:
    """Store events and apply them in one batch."""
    for event, data in told:
        store_webhook(context.database, event_body(event, data))
    deliver(context)


def deliver(context: JobContext) -> None:
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))


def verdicts(database: Database) -> list[tuple[str, str | None]]:
    sql = "SELECT verdict::text, reason FROM webhook_events ORDER BY id"
    return [(row[0], row[1]) for row in rows(database, sql)]


def status_of(context: JobContext, payment: Payment) -> PaymentStatus:
    return payment_now(context.database, payment.id).status


def test_a_success_makes_the_payment_succeed(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment))
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    assert after.gateway_transaction_id == 4_099_260_516
    assert (after.instrument.card_type, after.instrument.card_last4) == ("visa", "4081")
    assert (after.instrument.card_exp_month, after.instrument.card_exp_year) == (12, 2030)
    assert after.paid_at is not None
    assert after.paid_at.isoformat() == "2026-03-01T12:00:00+00:00"
    assert history_of(context.database, payment.id)[-1] == ("payment.succeeded", "SUCCESS")
    assert event_types(context.database) == ["payment.succeeded"]
    assert verdicts(context.database) == [("applied", None)]
    assert job_ids(context.database, "apply_webhook") == []


def test_a_success_without_its_time_was_paid_when_we_heard_of_it(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment, paid_at=None))
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    assert after.paid_at is not None
    assert after.paid_at >= payment.created_at


def test_the_largest_transaction_id_fits(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment, id=2**64 - 1))
    assert payment_now(context.database, payment.id).gateway_transaction_id == 2**64 - 1


def test_the_same_body_again_is_not_even_stored(context: JobContext) -> None:
    body = event_body(*success(accept(context.database)))
    assert store_webhook(context.database, body)
    assert not store_webhook(context.database, body)
    deliver(context)
    assert not store_webhook(context.database, body)
    assert event_types(context.database) == ["payment.succeeded"]


@pytest.mark.parametrize("together", [True, False])
def test_the_same_event_in_another_body_changes_nothing(context: JobContext, together: bool) -> None:
    payment = accept(context.database)
    again = success(payment, log={"attempts": 2})
    if together:
        receive(context, success(payment), again)
    else:
        receive(context, success(payment))
        receive(context, again)
    assert verdicts(context.database) == [
        ("applied", None),
        ("ignored", "no news for a payment in SUCCESS"),
    ]
    assert event_types(context.database) == ["payment.succeeded"]
    assert payment_now(context.database, payment.id).version == 2


def test_a_success_before_the_initialize_answer_stays(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    receive(context, success(payment))
    initialize_payments(context, job_ids(context.database))
    assert status_of(context, payment) is PaymentStatus.SUCCESS
    assert [fact for fact, _ in history_of(context.database, payment.id)][:2] == [
        "payment.accepted",
        "payment.succeeded",
    ]
    assert job_ids(context.database) == []


@pytest.mark.parametrize("together", [True, False])
def test_a_failure_that_comes_after_the_success_changes_nothing(context: JobContext, together: bool) -> None:
    payment = accept(context.database)
    told = [success(payment), failure(payment, id=1)]
    for batch in [told] if together else [[one] for one in told]:
        receive(context, *batch)
    assert status_of(context, payment) is PaymentStatus.SUCCESS
    assert event_types(context.database) == ["payment.succeeded"]


def test_a_success_after_a_failure_is_believed(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, failure(payment, id=1))
    receive(context, success(payment))
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    assert after.failure_code is None
    assert after.version == 3
    assert history_of(context.database, payment.id) == [
        ("payment.accepted", "PENDING"),
        ("payment.failed", "FAILED"),
        ("payment.succeeded", "SUCCESS"),
    ]
    assert event_types(context.database) == ["payment.failed", "payment.succeeded"]


def test_failures_and_a_success_in_one_batch_end_in_success(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, failure(payment, id=1), success(payment), failure(payment, id=2))
    assert status_of(context, payment) is PaymentStatus.SUCCESS
    last = history_of(context.database, payment.id)[-1]
    assert last == ("payment.succeeded", "SUCCESS")


def test_a_decline_is_told_with_its_reason(context: JobContext) -> None:
    payment = accept(context.database)
    data = failure(payment)[1] | {"gateway_response": "Insufficient Funds"}
    receive(context, ("charge.failed", data))
    after = payment_now(context.database, payment.id)
    assert (after.status, after.failure_code) == (PaymentStatus.FAILED, "INSUFFICIENT_FUNDS")
    assert after.failure_message == "Insufficient Funds"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 49_999, "requested_amount": 49_999},
        {"amount": 49_999},
        {"amount": 0},
        {"amount": 2**63 - 1, "requested_amount": 2**63 - 1},
        {"currency": "USD"},
        {"currency": "XOF"},
        {"currency": ""},
        {"currency": "ngn"},
    ],
    ids=str,
)
def test_money_that_does_not_fit_is_held_for_a_person(context: JobContext, changes: dict[str, Any]) -> None:
    payment = accept(context.database)
    receive(context, success(payment, **changes))
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.PENDING
    assert after.review_reason == "amount_mismatch"
    assert event_types(context.database) == ["payment.flagged"]
    assert verdicts(context.database) == [("applied", "amount_mismatch")]


def test_fees_borne_by_the_customer_are_no_mismatch(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment, amount=50_750, requested_amount=50_000))
    assert status_of(context, payment) is PaymentStatus.SUCCESS


@pytest.mark.parametrize("together", [True, False])
def test_the_money_of_a_second_transaction_is_flagged(context: JobContext, together: bool) -> None:
    payment = accept(context.database)
    told = [success(payment), success(payment, id=2, reference=reference_of(payment.id, 2))]
    for batch in [told] if together else [[one] for one in told]:
        receive(context, *batch)
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    assert after.review_reason == "paid_twice"
    assert after.gateway_transaction_id == 4_099_260_516
    assert after.paid_at is not None
    assert event_types(context.database) == ["payment.duplicate", "payment.succeeded"]


@pytest.mark.parametrize("reference", ["T1234", "", "pf-", "pf-zzzz", f"pf-{'0' * 26}"])
def test_an_event_about_somebody_elses_transaction_is_ignored(context: JobContext, reference: str) -> None:
    payment = accept(context.database)
    receive(context, success(payment, reference=reference))
    assert status_of(context, payment) is PaymentStatus.PENDING
    assert verdicts(context.database) == [("ignored", "unknown reference")]


@pytest.mark.parametrize(
    ("key", "value"), [("amount", None), ("amount", -1), ("id", "x"), ("reference", 7), ("status", None)]
)
def test_a_malformed_charge_is_ignored_with_the_field_at_fault(context: JobContext, key: str, value: object) -> None:
    payment = accept(context.database)
    receive(context, success(payment, **{key: value}))
    assert status_of(context, payment) is PaymentStatus.PENDING
    assert verdicts(context.database) == [("ignored", f"malformed: {key}")]


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"null", b'{"data": {}}', b'{"event": 7}', b"[" * 9999, b"\xff", b'"\\ud800"'],
)
def test_what_is_no_event_is_ignored(context: JobContext, body: bytes) -> None:
    store_webhook(context.database, body)
    deliver(context)
    assert verdicts(context.database) == [("ignored", "not an event")]


@pytest.mark.parametrize("data", [{}, [], None, "x"])
@pytest.mark.parametrize("event", ["transfer.reversed", "customeridentification.failed", "charge.dispute.create"])
def test_an_event_payfleet_does_not_act_on_is_ignored_with_its_name(
    context: JobContext, event: str, data: object
) -> None:
    store_webhook(context.database, event_body(event, data))
    deliver(context)
    assert verdicts(context.database) == [("ignored", "an event Payfleet does not act on")]
    assert rows(context.database, "SELECT event FROM webhook_events") == [(event,)]


@pytest.mark.parametrize("told", [success, failure])
def test_an_event_of_the_other_domain_moves_nothing(context: JobContext, told: Any) -> None:
    payment = accept(context.database)
    receive(context, told(payment, domain="live"))
    assert status_of(context, payment) is PaymentStatus.PENDING
    assert verdicts(context.database) == [("ignored", "an event of the live domain")]


def test_a_success_event_of_another_status_is_not_believed(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment, status="ongoing"))
    assert status_of(context, payment) is PaymentStatus.PENDING
    assert verdicts(context.database) == [("ignored", "a success event of status ongoing")]


def test_one_bad_event_harms_only_itself(context: JobContext) -> None:
    first, last = accept(context.database), accept(context.database)
    store_webhook(context.database, event_body(*success(first, id=1)))
    # Sealed with a key that was thrown away too early.
    rows(context.database, "UPDATE webhook_events SET body_sealed = 'nonsense'")
    store_webhook(context.database, event_body(*success(last)))
    deliver(context)
    assert status_of(context, first) is PaymentStatus.PENDING
    assert status_of(context, last) is PaymentStatus.SUCCESS
    jobs = rows(context.database, "SELECT state::text, failures, last_error FROM jobs WHERE kind = 'apply_webhook'")
    assert jobs == [("ready", 1, "settlement raised UnsealError")]


def test_a_text_that_postgres_cannot_hold_does_not_keep_the_news_from_a_payment(context: JobContext) -> None:
    payment = accept(context.database)
    receive(context, success(payment, gateway_response="Appr\0ved", channel="card\0", message="a\\u0000\\"))
    assert status_of(context, payment) is PaymentStatus.SUCCESS
    kept = rows(
        context.database,
        "SELECT channel, gateway_response->>'gateway_response', gateway_response->>'message' FROM payments",
    )
    assert kept == [("card", "Apprved", "a\\u0000\\")]


def test_two_processes_with_the_same_events_apply_each_once(context: JobContext) -> None:
    some = [accept(context.database) for _ in range(12)]
    for payment in some:
        store_webhook(context.database, event_body(*success(payment)))
    ids = job_ids(context.database, "apply_webhook")

    def process(order: list[UUID]) -> None:
        apply_webhooks(context, order)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(process, [ids, ids[::-1]]))
    assert {status_of(context, payment) for payment in some} == {PaymentStatus.SUCCESS}
    assert event_types(context.database) == ["payment.succeeded"] * 12
    assert rows(context.database, "SELECT DISTINCT version FROM payments") == [(2,)]


def test_a_finished_event_delivered_again_does_nothing(context: JobContext) -> None:
    payment = accept(context.database)
    store_webhook(context.database, event_body(*success(payment)))
    ids = job_ids(context.database, "apply_webhook")
    apply_webhooks(context, ids)
    apply_webhooks(context, ids)
    assert payment_now(context.database, payment.id).version == 2


def test_nothing_that_names_the_customer_is_kept_in_the_clear(context: JobContext, paystack: ScriptedPaystack) -> None:
    paid, declined = accept(context.database), accept(context.database)
    initialize_payments(context, job_ids(context.database))
    receive(context, success(paid), failure(declined))
    assert status_of(context, paid) is PaymentStatus.SUCCESS
    tables = rows(
        context.database,
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
        """,
    )
    assert len(tables) >= 10
    seen = 0
    for (table,) in tables:
        for row in rows(context.database, SQL("SELECT to_jsonb(t), t::text FROM {} t").format(Identifier(table))):
            # As text, and bytea as the bytes that it holds.
            text = json.dumps(row[0]) + row[1]
            for hidden in (EMAIL, AUTHORIZATION_CODE, "ada.lovelace"):
                assert hidden not in text, table
                assert hidden.encode().hex() not in text, table
            seen += 1
    assert seen > 10
