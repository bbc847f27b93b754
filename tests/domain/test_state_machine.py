"""The payment's state machine: what each fact changes, and what no sequence of facts can do."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import state_machine as machine
from domain.errors import ErrorCode
from domain.events import EventType
from domain.ids import Prefix, reference_of, show
from domain.money import Currency, Money
from domain.payment import (
    MOVES,
    PAID,
    Challenged,
    Change,
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
    ReviewReason,
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


@dataclass(frozen=True, kw_only=True)
class Makes:
    """What a fact makes of a payment: the columns that change, and everything else that is written."""

    columns: dict[str, Any]
    name: FactName
    details: dict[str, Any]
    event: EventType | None
    response: dict[str, Any] | None = None
    surplus: Charged | None = None

    def of(self, start: Payment) -> Change:
        return Change(
            name=self.name,
            after=replace(start, version=start.version + 1, **self.columns),
            details=self.details,
            event=self.event,
            response=self.response,
            surplus=self.surplus,
        )


def flag(reason: ReviewReason, fact: Charged, **details: Any) -> Makes:
    return Makes(
        columns={"review_reason": reason, "flagged_transactions": (OLD_FLAG, fact.transaction_id)},
        name=FactName.FLAGGED,
        details={"reason": reason, "reference": REFERENCE, "transactionId": fact.transaction_id} | details,
        event=EventType.PAYMENT_FLAGGED,
    )


def success(**columns: Any) -> Makes:
    paid = {
        "status": S.SUCCESS,
        "gateway_transaction_id": 1,
        "instrument": CARD,
        "paid_at": NOON,
        "failure_code": None,
        "failure_message": None,
        "next_action": None,
    }
    return Makes(
        columns=paid | columns,
        name=FactName.SUCCEEDED,
        details={"reference": REFERENCE, "transactionId": 1},
        event=EventType.PAYMENT_SUCCEEDED,
        response={"id": 1},
    )


def failure(code: ErrorCode, message: str, *, details: dict[str, Any], **columns: Any) -> Makes:
    return Makes(
        columns={"status": S.FAILED, "failure_code": code, "failure_message": message, **columns},
        name=FactName.FAILED,
        details={**details, "code": code, "message": message},
        event=EventType.PAYMENT_FAILED,
    )


OLD_FLAG = 5
UNPAID = frozenset({S.PENDING, S.PROCESSING, S.FAILED, S.ABANDONED})
WAITING = frozenset({S.PENDING, S.PROCESSING})
ACTION = {"type": "open_url", "message": "Confirm it with your bank."}
AT_URL = {"access_code": "acc_2", "authorization_url": "https://checkout.example/acc_2"}
BACK = replace(charged(), reversed=True)
SECOND = charged(transaction_id=2)


def challenge(**columns: Any) -> Makes:
    return Makes(
        columns={"next_action": ACTION, **columns},
        name=FactName.CHALLENGED,
        details={"reference": REFERENCE, **ACTION},
        event=EventType.PAYMENT_INITIATED,
    )


# What each fact makes of a payment, by the payment's status; in every other status it is no news.
MADE_BY: dict[str, tuple[Fact, dict[frozenset[PaymentStatus], Makes]]] = {
    "initialized": (
        INITIALIZED,
        {
            frozenset(S): Makes(
                columns={"access_code": "acc_1", "authorization_url": "https://checkout.example/acc_1"},
                name=FactName.INITIALIZED,
                details={"reference": REFERENCE},
                event=EventType.PAYMENT_INITIATED,
            )
        },
    ),
    "challenged": (
        Challenged(REFERENCE, ACTION["type"], ACTION["message"]),
        {frozenset({S.PENDING}): challenge()},
    ),
    "challenged at a url": (
        Challenged(REFERENCE, ACTION["type"], ACTION["message"], **AT_URL),
        {frozenset({S.PENDING}): challenge(**AT_URL)},
    ),
    "challenged at a url without its code": (
        Challenged(REFERENCE, ACTION["type"], ACTION["message"], authorization_url="https://elsewhere.example"),
        {frozenset({S.PENDING}): challenge()},
    ),
    "refused": (
        REFUSED,
        {frozenset({S.PENDING}): failure(REFUSED.code, REFUSED.message, details={})},
    ),
    "declined": (
        failed("Insufficient Funds"),
        {
            WAITING: failure(
                ErrorCode.INSUFFICIENT_FUNDS, "Insufficient Funds", details={"reference": REFERENCE}, next_action=None
            )
        },
    ),
    "in progress": (
        InProgress(REFERENCE),
        {
            frozenset({S.PENDING}): Makes(
                columns={"status": S.PROCESSING, "next_action": None},
                name=FactName.PROCESSING,
                details={"reference": REFERENCE},
                event=None,
            )
        },
    ),
    "not paid in time": (
        NotPaid(REFERENCE, expired=True),
        {
            WAITING: Makes(
                columns={"status": S.ABANDONED, "next_action": None},
                name=FactName.ABANDONED,
                details={"reference": REFERENCE},
                event=EventType.PAYMENT_ABANDONED,
            )
        },
    ),
    "not paid yet": (NotPaid(REFERENCE, expired=False), {}),
    "charged": (
        charged(),
        {
            UNPAID: success(),
            frozenset({S.CANCELLED}): flag(ReviewReason.UNEXPECTED_MONEY, charged(), status=S.CANCELLED),
        },
    ),
    "charged with fees on top": (
        charged(received=50_750),
        {
            UNPAID: success(),
            frozenset({S.CANCELLED}): flag(ReviewReason.UNEXPECTED_MONEY, charged(), status=S.CANCELLED),
        },
    ),
    "charged and reversed": (
        BACK,
        {
            UNPAID: success(review_reason=ReviewReason.REVERSED),
            frozenset({S.CANCELLED}): flag(ReviewReason.UNEXPECTED_MONEY, BACK, status=S.CANCELLED),
            PAID: flag(ReviewReason.REVERSED, BACK),
        },
    ),
    "charged by another transaction": (
        SECOND,
        {
            UNPAID: replace(
                success(gateway_transaction_id=2),
                details={"reference": REFERENCE, "transactionId": 2},
                response={"id": 2},
            ),
            frozenset({S.CANCELLED}): flag(ReviewReason.UNEXPECTED_MONEY, SECOND, status=S.CANCELLED),
            PAID: replace(
                flag(ReviewReason.PAID_TWICE, SECOND, firstTransactionId=1),
                event=EventType.PAYMENT_DUPLICATE,
                surplus=SECOND,
            ),
        },
    ),
}


def marked(status: PaymentStatus, fact: Fact) -> Payment:
    """A payment with something in every column that a fact could clear or keep."""
    return replace(
        payment(status),
        failure_code="GATEWAY_ERROR",
        failure_message="of an earlier try",
        review_reason="amount_mismatch",
        flagged_transactions=(OLD_FLAG,),
        next_action=None if isinstance(fact, Challenged) else {"type": "send_otp", "message": None},
    )


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize(("fact", "made"), MADE_BY.values(), ids=MADE_BY)
def test_each_fact_changes_exactly_this_in_each_status(
    fact: Fact, made: dict[frozenset[PaymentStatus], Makes], status: PaymentStatus
) -> None:
    start = marked(status, fact)
    expected = [makes.of(start) for statuses, makes in made.items() if status in statuses]
    assert apply(start, fact) == (expected[0] if expected else None)


@pytest.mark.parametrize(
    "fact",
    [INITIALIZED, Challenged(REFERENCE, "send_otp"), failed(), InProgress(REFERENCE), NotPaid(REFERENCE, expired=True)],
    ids=lambda fact: type(fact).__name__,
)
def test_what_is_told_of_a_reference_given_up_says_nothing_about_the_present_one(fact: Fact) -> None:
    assert apply(payment(), fact) is not None
    assert apply(replace(payment(), reference_sequence=2), fact) is None


@pytest.mark.parametrize("fact", [BACK, charged()], ids=["reversed", "not reversed"])
def test_money_of_a_second_payment_of_an_order_counts_and_is_told_as_a_duplicate(fact: Charged) -> None:
    first = UUID("0193aa11-0000-7000-8000-000000000002")
    assert apply(payment(), fact, order_paid_by=first) == replace(
        success(review_reason=ReviewReason.DUPLICATE_ORDER),
        name=FactName.DUPLICATE,
        details={"reference": REFERENCE, "transactionId": 1, "orderPaidBy": show(Prefix.PAYMENT, first)},
        event=EventType.PAYMENT_DUPLICATE,
    ).of(payment())


def test_money_that_a_refund_of_ours_took_back_is_no_surprise() -> None:
    assert apply(replace(payment(S.SUCCESS), refunds_reserved=1), BACK) is None


def test_a_payment_is_challenged_once() -> None:
    waiting = replace(payment(), next_action=ACTION)
    assert apply(waiting, Challenged(REFERENCE, "send_otp")) is None


def test_a_payment_with_a_url_keeps_it() -> None:
    assert apply(replace(payment(), **AT_URL), INITIALIZED) is None


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
@pytest.mark.parametrize("before", S)
def test_money_that_does_not_fit_is_flagged_and_never_counts_as_paid(before: PaymentStatus, fact: Charged) -> None:
    start, fact = marked(before, fact), replace(fact, transaction_id=2)
    told = {"asked": fact.asked, "received": fact.received, "currency": fact.currency}
    assert apply(start, fact) == flag(ReviewReason.AMOUNT_MISMATCH, fact, **told).of(start)


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
