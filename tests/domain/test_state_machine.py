"""The payment's state machine: what each fact changes, and what no sequence of facts can do."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import state_machine as machine
from domain.errors import ErrorCode
from domain.events import EventType
from domain.ids import reference_of
from domain.money import Currency, Money
from domain.payment import (
    MOVES,
    PAID,
    Challenged,
    Charged,
    ChargeFailed,
    Fact,
    FactName,
    Initialized,
    InProgress,
    Instrument,
    NotPaid,
    Payment,
    PaymentStatus,
    Refused,
)
from domain.state_machine import apply, failure_code_of

S = PaymentStatus
PAYMENT_ID = UUID("0193aa11-0000-7000-8000-000000000001")
REFERENCE = reference_of(PAYMENT_ID, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CARD = Instrument(channel="card", card_type="visa", card_last4="4081", card_exp_month=12, card_exp_year=2030)

LISTED = {
    (S.PENDING, S.PROCESSING),
    (S.PENDING, S.SUCCESS),
    (S.PENDING, S.FAILED),
    (S.PENDING, S.ABANDONED),
    (S.PENDING, S.CANCELLED),
    (S.PROCESSING, S.SUCCESS),
    (S.PROCESSING, S.FAILED),
    (S.PROCESSING, S.ABANDONED),
    (S.FAILED, S.SUCCESS),
    (S.ABANDONED, S.SUCCESS),
    (S.SUCCESS, S.PARTIALLY_REFUNDED),
    (S.SUCCESS, S.REFUNDED),
    (S.PARTIALLY_REFUNDED, S.REFUNDED),
    (S.PARTIALLY_REFUNDED, S.SUCCESS),
    (S.REFUNDED, S.PARTIALLY_REFUNDED),
    (S.REFUNDED, S.SUCCESS),
}


def payment(status: PaymentStatus = S.PENDING) -> Payment:
    paid = status in PAID
    return Payment(
        id=PAYMENT_ID,
        user_id="user-1",
        order_id="order-1",
        money=Money(50_000, Currency.NGN),
        status=status,
        version=1,
        reference_sequence=1,
        created_at=NOON,
        gateway_transaction_id=1 if paid else None,
        paid_at=NOON if paid else None,
    )


def charged(asked: int = 50_000, received: int = 50_000, currency: str = "NGN", transaction_id: int = 1) -> Charged:
    return Charged(
        reference=REFERENCE,
        asked=asked,
        received=received,
        currency=currency,
        transaction_id=transaction_id,
        paid_at=NOON,
        instrument=CARD,
        response={"id": transaction_id},
    )


def failed(reason: str = "Declined", reference: str = REFERENCE) -> ChargeFailed:
    return ChargeFailed(reference=reference, reason=reason, transaction_id=1)


INITIALIZED = Initialized(REFERENCE, "acc_1", "https://checkout.example/acc_1")
REFUSED = Refused(ErrorCode.PAYSTACK_API_ERROR, "Invalid Email Address Passed")


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_each_pair_of_statuses_is_a_listed_move_or_refused(before: PaymentStatus, after: PaymentStatus) -> None:
    start = payment(before)
    if before is after or (before, after) in LISTED:
        assert machine.next_version(start, status=after).status is after
    else:
        with pytest.raises(ValueError, match=f"cannot move from {before} to {after}"):
            machine.next_version(start, status=after)


def test_money_that_fits_makes_a_payment_succeed() -> None:
    change = apply(payment(), charged())
    assert change is not None
    assert (change.name, change.event) == (FactName.SUCCEEDED, EventType.PAYMENT_SUCCEEDED)
    assert change.after.status is S.SUCCESS
    assert change.after.version == 2
    assert change.after.gateway_transaction_id == 1
    assert change.after.paid_at == NOON
    assert change.after.instrument == CARD


@pytest.mark.parametrize("before", [S.PENDING, S.PROCESSING, S.FAILED, S.ABANDONED])
def test_late_success_is_believed_and_clears_the_failure(before: PaymentStatus) -> None:
    start = replace(payment(before), failure_code="PAYMENT_DECLINED", failure_message="Declined")
    change = apply(start, charged())
    assert change is not None
    assert change.after.status is S.SUCCESS
    assert change.after.failure_code is None
    assert change.after.failure_message is None


@pytest.mark.parametrize(
    "fact",
    [
        charged(asked=49_999, received=49_999),
        charged(asked=50_001, received=50_001),
        charged(received=49_999),
        charged(asked=0, received=0),
        charged(currency="USD"),
        charged(currency="ngn"),
        charged(currency="XOF"),
    ],
)
@pytest.mark.parametrize("before", list(S))
def test_money_that_does_not_fit_is_flagged_and_never_counts_as_paid(before: PaymentStatus, fact: Charged) -> None:
    start = payment(before)
    change = apply(start, replace(fact, transaction_id=2))
    assert change is not None
    assert (change.name, change.event) == (FactName.FLAGGED, EventType.PAYMENT_FLAGGED)
    assert change.after.review_reason == "amount_mismatch"
    assert change.after.status is before
    assert change.after.gateway_transaction_id == start.gateway_transaction_id


def test_fees_borne_by_the_customer_are_no_mismatch() -> None:
    change = apply(payment(), charged(received=50_750))
    assert change is not None
    assert change.after.status is S.SUCCESS


@pytest.mark.parametrize("before", sorted(PAID))
def test_a_second_transactions_money_is_flagged(before: PaymentStatus) -> None:
    change = apply(payment(before), charged(transaction_id=2))
    assert change is not None
    assert change.after.review_reason == "paid_twice"
    assert change.after.status is before
    assert change.details["firstTransactionId"] == 1
    assert change.details["transactionId"] == 2


def test_money_for_a_cancelled_payment_is_flagged() -> None:
    change = apply(payment(S.CANCELLED), charged())
    assert change is not None
    assert change.after.review_reason == "unexpected_money"
    assert change.after.status is S.CANCELLED


def test_money_after_a_flag_still_makes_the_payment_succeed_and_keeps_the_flag() -> None:
    flagged = apply(payment(), charged(received=1, asked=1))
    assert flagged is not None
    change = apply(flagged.after, charged(transaction_id=2))
    assert change is not None
    assert change.after.status is S.SUCCESS
    assert change.after.review_reason == "amount_mismatch"


def test_an_initialized_payment_can_be_paid_at_its_url() -> None:
    change = apply(payment(), INITIALIZED)
    assert change is not None
    assert (change.name, change.event) == (FactName.INITIALIZED, EventType.PAYMENT_INITIATED)
    assert change.after.authorization_url == "https://checkout.example/acc_1"
    assert change.after.status is S.PENDING


def test_an_answer_under_a_reference_given_up_is_no_news() -> None:
    assert apply(replace(payment(), reference_sequence=2), INITIALIZED) is None


def test_a_refused_payment_fails_with_its_code() -> None:
    change = apply(payment(), REFUSED)
    assert change is not None
    assert change.after.status is S.FAILED
    assert change.after.failure_code == ErrorCode.PAYSTACK_API_ERROR
    assert change.event is EventType.PAYMENT_FAILED


@pytest.mark.parametrize("before", sorted(set(S) - {S.PENDING}))
def test_a_refusal_moves_nothing_but_a_pending_payment(before: PaymentStatus) -> None:
    assert apply(payment(before), REFUSED) is None


@pytest.mark.parametrize("before", sorted(set(S) - {S.PENDING, S.PROCESSING}))
def test_a_decline_never_moves_a_payment_back(before: PaymentStatus) -> None:
    assert apply(payment(before), failed()) is None


def test_a_decline_of_an_earlier_reference_says_nothing_about_the_present_one() -> None:
    assert apply(replace(payment(), reference_sequence=2), failed()) is None


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Insufficient Funds", ErrorCode.INSUFFICIENT_FUNDS),
        ("51 insufficient funds.", ErrorCode.INSUFFICIENT_FUNDS),
        ("Declined", ErrorCode.PAYMENT_DECLINED),
        ("", ErrorCode.PAYMENT_DECLINED),
    ],
)
def test_a_decline_is_named(reason: str, code: ErrorCode) -> None:
    assert failure_code_of(reason) is code


# Few values, so that sequences collide often.
AMOUNTS = st.sampled_from([1, 49_999, 50_000, 50_001])
REFERENCES = st.sampled_from([REFERENCE, reference_of(PAYMENT_ID, 2), "elsewhere"])
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Initialized, REFERENCES, st.just("acc"), st.just("https://checkout.example/acc")),
    st.just(REFUSED),
    st.builds(
        Charged,
        reference=REFERENCES,
        asked=AMOUNTS,
        received=AMOUNTS,
        currency=st.sampled_from(["NGN", "USD", "???"]),
        transaction_id=st.integers(1, 3),
        paid_at=st.sampled_from([NOON, None]),
        instrument=st.just(CARD),
        response=st.just({}),
    ),
    st.builds(
        ChargeFailed,
        reference=REFERENCES,
        reason=st.sampled_from(["Declined", "Insufficient Funds"]),
        transaction_id=st.none(),
    ),
    st.builds(Challenged, reference=REFERENCES, action=st.sampled_from(["open_url", "send_otp"])),
    st.builds(InProgress, reference=REFERENCES),
    st.builds(NotPaid, reference=REFERENCES, expired=st.booleans()),
)
EVENT_OF = {
    FactName.INITIALIZED: EventType.PAYMENT_INITIATED,
    FactName.CHALLENGED: EventType.PAYMENT_INITIATED,
    FactName.PROCESSING: None,
    FactName.ABANDONED: EventType.PAYMENT_ABANDONED,
    FactName.SUCCEEDED: EventType.PAYMENT_SUCCEEDED,
    FactName.FAILED: EventType.PAYMENT_FAILED,
    FactName.FLAGGED: EventType.PAYMENT_FLAGGED,
}


@given(st.sampled_from(S), st.lists(FACTS, max_size=12))
def test_no_sequence_of_facts_breaks_the_rules(start: PaymentStatus, facts: list[Fact]) -> None:
    states = [payment(start)]
    for fact in facts:
        before = states[-1]
        change = apply(before, fact)
        if change is None:
            continue
        after = change.after
        states.append(after)
        assert after.version == before.version + 1
        expected = EventType.PAYMENT_DUPLICATE if change.surplus else EVENT_OF[change.name]
        assert change.event is expected
        assert (after.id, after.money, after.reference) == (before.id, before.money, before.reference)
        if after.status is not before.status:
            assert after.status in MOVES[before.status]
        if after.status in PAID and before.status not in PAID:
            assert isinstance(fact, Charged)
            assert fact.asked == after.money.amount <= fact.received
            assert fact.currency == after.money.currency
        if before.status in PAID:
            assert after.status in PAID
            assert after.gateway_transaction_id == before.gateway_transaction_id
        assert apply(after, fact) is None, "the same fact again is no news"
    assert all(one.version < other.version for one, other in pairwise(states))


@given(st.lists(FACTS, max_size=8), st.randoms(use_true_random=False))
def test_good_money_ends_in_success_whatever_comes_before_or_after(facts: list[Fact], random: object) -> None:
    at = random.randint(0, len(facts))  # pyright: ignore[reportAttributeAccessIssue]
    current = payment()
    for fact in [*facts[:at], charged(transaction_id=9), *facts[at:]]:
        change = apply(current, fact)
        current = current if change is None else change.after
    assert current.status is S.SUCCESS
