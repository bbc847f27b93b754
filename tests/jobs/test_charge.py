"""Charging saved methods, against a real Postgres and a Paystack that says what the test wants."""

from typing import Any

import pytest

from domain.errors import ErrorCode
from domain.method import MethodStatus
from domain.payment import PaymentStatus
from jobs.context import JobContext
from jobs.webhooks import apply_webhooks
from tests.jobs.charging import CARD, S, answers, charge, charges, is_over, outcomes, run, run_later, verifications
from tests.jobs.scripted_paystack import ScriptedPaystack, charges_and_resets, refuses, resets
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    active_codes,
    authorization,
    event_body,
    event_types,
    history_of,
    job_ids,
    method_now,
    payment_now,
    rows,
    save_method,
    store_webhook,
    transaction_data,
)


@pytest.fixture(autouse=True)
def a_card_at_paystack(paystack: ScriptedPaystack) -> None:
    paystack.authorizations[EMAIL] = [CARD]


def test_a_saved_card_is_charged_with_its_own_code_and_address(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database, metadata={"cart": "7"})
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.instrument.card_last4) == (S.SUCCESS, "4081")
    assert [call.body for call in paystack.calls] == [
        {
            "email": EMAIL,
            "amount": payment.money.amount,
            "currency": "NGN",
            "authorization_code": AUTHORIZATION_CODE,
            "reference": payment.reference,
            "metadata": '{"cart":"7"}',
            "callback_url": context.callback_url,
        }
    ]
    assert history_of(context.database, payment.id) == [
        ("payment.accepted", "PENDING"),
        ("payment.succeeded", "SUCCESS"),
    ]
    assert rows(context.database, "SELECT source FROM payment_history WHERE version = 2") == [("paystack.charge",)]
    assert event_types(context.database) == ["payment.succeeded"]
    assert outcomes(context.database) == ["done"]
    assert is_over(context)


def test_the_newest_code_of_the_card_is_kept_and_the_method_stays_itself(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    newer = {**CARD, "authorization_code": "AUTH_newer"}
    paystack.next(answers(payment, **transaction_data(payment, authorization=newer)))
    run(context)
    assert active_codes(context.database) == ["AUTH_newer"]
    assert rows(context.database, "SELECT id, is_default FROM payment_methods") == [(payment.payment_method_id, True)]


def test_a_challenge_paid_with_another_card_leaves_the_saved_one_as_it_is(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    other = {**CARD, "authorization_code": "AUTH_other", "signature": "SIG_other"}
    paystack.next(answers(payment, **transaction_data(payment, authorization=other)))
    run(context)
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


def test_an_amount_with_the_fees_on_top_is_told_apart_by_verify(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    on_top = transaction_data(payment, amount=payment.money.amount + 10_247)
    paystack.transactions[payment.reference] = on_top
    paystack.next(answers(payment, **{name: value for name, value in on_top.items() if name != "requested_amount"}))
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING
    run_later(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.review_reason) == (S.SUCCESS, None)
    assert charges(paystack) == [payment.reference]


def test_an_amount_that_was_not_asked_for_is_flagged_and_not_counted_as_paid(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, **transaction_data(payment, amount=1, requested_amount=1)))
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.review_reason) == (S.PENDING, "amount_mismatch")


@pytest.mark.parametrize(
    ("reason", "code"),
    [("Declined", ErrorCode.PAYMENT_DECLINED), ("Insufficient Funds", ErrorCode.INSUFFICIENT_FUNDS)],
)
def test_a_decline_ends_in_a_failed_payment_with_paystacks_reason(
    context: JobContext, paystack: ScriptedPaystack, reason: str, code: ErrorCode
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, **transaction_data(payment, status="failed", gateway_response=reason)))
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.failure_code, after.failure_message) == (S.FAILED, code, reason)
    assert active_codes(context.database) == [AUTHORIZATION_CODE], "the card may work another time"
    assert is_over(context)


def test_a_challenged_card_sends_the_customer_to_the_bank(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    url = "https://checkout.paystack.com/resume/0744ub5o065nwyz"
    paystack.next(answers(payment, paused=True, authorization_url=url, access_code="0744ub5o065nwyz"))
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.authorization_url) == (S.PENDING, url)
    assert after.next_action == {"type": "open_url", "message": None}
    assert event_types(context.database) == ["payment.initiated"]
    assert is_over(context)


def test_a_bank_that_wants_a_code_of_the_customer_says_so(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, status="send_otp", display_text="Enter the OTP sent to your phone"))
    run(context)
    after = payment_now(context.database, payment.id)
    assert after.next_action == {"type": "send_otp", "message": "Enter the OTP sent to your phone"}
    assert after.status is S.PENDING


@pytest.mark.parametrize(
    ("status", "expected"),
    [("pending", S.PROCESSING), ("processing", S.PROCESSING), ("queued", S.PROCESSING), ("ongoing", S.PROCESSING)],
)
def test_a_charge_whose_outcome_is_still_to_come_is_asked_about_later(
    context: JobContext, paystack: ScriptedPaystack, status: str, expected: PaymentStatus
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, status=status))
    run(context)
    assert payment_now(context.database, payment.id).status is expected
    assert verifications(context.database) == [(str(payment.id), f"verify_payment:{payment.id}")]
    assert is_over(context)


def test_a_status_nobody_has_heard_of_changes_nothing_and_is_asked_about_later(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, **transaction_data(payment, status="pondering")))
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING
    assert len(verifications(context.database)) == 1
    assert is_over(context)


@pytest.mark.parametrize(
    "message",
    [
        "Authorization code is invalid",
        "Email does not match Authorization code. Authorization may be inactive or belong to a different email.",
    ],
)
def test_a_code_that_was_taken_back_ends_the_payment_and_the_method(
    context: JobContext, paystack: ScriptedPaystack, message: str
) -> None:
    other = save_method(context.database, authorization("AUTH_other", signature="SIG_other"))
    payment = charge(context.database)
    paystack.next(refuses(message))
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.failure_code) == (S.FAILED, ErrorCode.PAYSTACK_AUTHORIZATION_INVALID)
    assert payment.payment_method_id is not None
    method = method_now(context.database, payment.payment_method_id)
    assert (method.status, method.failure_code) == (MethodStatus.INACTIVE, ErrorCode.PAYSTACK_AUTHORIZATION_INVALID)
    assert method_now(context.database, other.id).is_default


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Currency not supported by merchant", ErrorCode.CURRENCY_NOT_SUPPORTED),
        ("Charge attempt cannot be fulfilled until 90 minutes", ErrorCode.PAYSTACK_API_ERROR),
    ],
)
def test_another_refusal_fails_the_payment_and_leaves_the_method(
    context: JobContext, paystack: ScriptedPaystack, message: str, code: ErrorCode
) -> None:
    payment = charge(context.database)
    paystack.next(refuses(message))
    run(context)
    assert payment_now(context.database, payment.id).failure_code == code
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


# What is not sent at all.


def test_a_payment_that_is_decided_already_is_not_charged(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    store_webhook(context.database, event_body("charge.failed", transaction_data(payment, status="failed")))
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))
    run(context)
    assert paystack.calls == []
    assert is_over(context)


def test_a_charge_nobody_waits_for_any_more_is_not_made(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    run_later(context, 3601)
    assert payment_now(context.database, payment.id).status is S.ABANDONED
    assert paystack.calls == []
    assert is_over(context)


def test_a_charge_that_was_sent_in_time_counts_even_if_it_is_found_too_late(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(charges_and_resets)
    run(context)
    run_later(context, 3601)
    assert payment_now(context.database, payment.id).status is S.SUCCESS


def test_a_charge_that_is_still_unpaid_too_late_is_given_up(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status="abandoned")
    run_later(context, 3601)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.reference) == (S.ABANDONED, payment.reference)
    assert charges(paystack) == [payment.reference]
    assert is_over(context)


def test_a_method_taken_away_in_the_meantime_is_not_charged(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    rows(context.database, "UPDATE payment_methods SET status = 'INACTIVE', is_default = false")
    run(context)
    assert payment_now(context.database, payment.id).failure_code == ErrorCode.INVALID_PAYMENT_METHOD
    assert paystack.calls == []


def test_a_method_that_no_key_opens_is_not_charged_and_is_tried_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    rows(context.database, "UPDATE payment_methods SET authorization_sealed = 'nonsense'")
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING
    assert rows(context.database, "SELECT state::text, failures FROM jobs") == [("ready", 1)]
    assert paystack.calls == []


@pytest.mark.parametrize(
    "data",
    [
        {"reference": "pf-other", "status": "success", "amount": 50_000, "currency": "NGN", "id": 1},
        {"status": "success"},  # neither amount nor number
        {"status": "success", "amount": "many", "currency": "NGN", "id": 1},
    ],
)
def test_an_answer_that_cannot_be_believed_is_looked_into(
    context: JobContext, paystack: ScriptedPaystack, data: dict[str, Any]
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, **data))
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING
    assert outcomes(context.database) == ["unknown"]


def test_no_secret_of_a_charge_is_in_the_clear(context: JobContext, paystack: ScriptedPaystack) -> None:
    charge(context.database)
    paystack.next(refuses(f"strange {AUTHORIZATION_CODE[:4]}"))
    run(context)
    everything = rows(
        context.database,
        "SELECT (SELECT jsonb_agg(to_jsonb(p)) FROM payments p)::text, (SELECT jsonb_agg(to_jsonb(m))"
        " FROM payment_methods m)::text, (SELECT jsonb_agg(to_jsonb(a)) FROM payment_attempts a)::text",
    )[0]
    assert not any(AUTHORIZATION_CODE in text or EMAIL in text for text in everything)
