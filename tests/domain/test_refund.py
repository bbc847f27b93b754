"""The rules of refunds: however many, in whatever order their news comes, the sums and the status agree."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ErrorCode, RefusedError
from domain.events import EventType
from domain.money import Currency, Money
from domain.payment import FactName, Payment, PaymentStatus, ReviewReason
from domain.refund import (
    MOVES,
    SEARCH_PAUSE,
    Refund,
    RefundChange,
    RefundNews,
    RefundStatus,
    add_working_days,
    apply_news,
    flag_refund,
    holds_its_order_again,
    is_searched_enough,
    is_worth_asking,
    next_look_after,
    open_refund,
    refundable_amount,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AMOUNT = 50_000
S = RefundStatus


def payment(status: PaymentStatus = PaymentStatus.SUCCESS, *, reserved: int = 0, refunded: int = 0) -> Payment:
    return Payment(
        id=UUID(int=1),
        user_id="user-1",
        order_id="order-1",
        money=Money(AMOUNT, Currency.NGN),
        status=status,
        version=4,
        reference_sequence=1,
        created_at=NOW,
        gateway_transaction_id=7001,
        refunds_reserved=reserved,
        refunded=refunded,
    )


def refund(status: RefundStatus = S.PENDING, amount: int = 20_000, *, is_surplus: bool = False, n: int = 2) -> Refund:
    return Refund(
        id=UUID(int=n),
        payment_id=UUID(int=1),
        money=Money(amount, Currency.NGN),
        status=status,
        version=1,
        requested_by="support-1",
        gateway_transaction_id=7001,
        created_at=NOW,
        is_surplus=is_surplus,
        gateway_refund_id=None if status is S.PENDING else 900,
    )


@pytest.mark.parametrize("status", [s for s in PaymentStatus if s not in {"SUCCESS", "PARTIALLY_REFUNDED", "REFUNDED"}])
def test_only_a_paid_payment_can_be_refunded(status: PaymentStatus) -> None:
    with pytest.raises(RefusedError) as refused:
        refundable_amount(payment(status), None)
    assert refused.value.code is ErrorCode.REFUND_NOT_ALLOWED


@pytest.mark.parametrize(("asked", "given_back"), [(None, 30_000), (1, 1), (30_000, 30_000)])
def test_a_refund_takes_what_is_asked_or_all_that_is_left(asked: int | None, given_back: int) -> None:
    assert refundable_amount(payment(reserved=20_000), asked) == given_back


@pytest.mark.parametrize(
    ("reserved", "asked", "code"),
    [
        (20_000, 30_001, ErrorCode.PARTIAL_REFUND_EXCEEDS),
        (AMOUNT, 1, ErrorCode.REFUND_NOT_ALLOWED),
        (AMOUNT, None, ErrorCode.REFUND_NOT_ALLOWED),
    ],
)
def test_more_than_is_left_is_refused(reserved: int, asked: int | None, code: ErrorCode) -> None:
    with pytest.raises(RefusedError) as refused:
        refundable_amount(payment(reserved=reserved), asked)
    assert refused.value.code is code


@pytest.mark.parametrize(("before", "told"), [*product(S, [s for s in S if s is not S.PENDING])])
def test_a_refund_moves_as_listed_or_not_at_all(before: RefundStatus, told: RefundStatus) -> None:
    paid = payment(reserved=20_000, refunded=20_000 if before is S.SUCCESS else 0)
    change = apply_news(paid, refund(before), RefundNews(status=told, gateway_refund_id=900), NOW)
    if told in MOVES[before]:
        assert change is not None
        assert (change.after.status, change.after.version) == (told, 2)
        assert change.payment.after.version == paid.version + 1
    elif before is S.FAILED and told is not S.FAILED:
        assert change is not None
        assert change.after == refund(before)
        assert change.payment.after == replace(
            paid, version=paid.version + 1, review_reason=ReviewReason.REFUND_CONTRADICTED
        )
        assert (change.payment.name, change.payment.event) == (FactName.FLAGGED, EventType.PAYMENT_FLAGGED)
    else:
        assert change is None


@pytest.mark.parametrize("news", [{"amount": 19_999}, {"currency": "USD"}, {"amount": 20_001, "currency": "NGN"}])
def test_news_of_other_money_calls_a_person_and_moves_nothing(news: dict[str, object]) -> None:
    change = apply_news(payment(reserved=20_000), refund(S.PROCESSING), RefundNews(status=S.SUCCESS, **news), NOW)  # pyright: ignore[reportArgumentType]
    assert change is not None
    assert change.after == refund(S.PROCESSING)
    assert change.payment.after.review_reason == ReviewReason.REFUND_MISMATCH
    assert change.payment.after.refunded == 0


def test_a_person_is_called_once_for_one_reason() -> None:
    flagged = flag_refund(payment(), refund(), ReviewReason.REFUND_UNSETTLED)
    assert flagged is not None
    assert flag_refund(flagged.after, refund(), ReviewReason.REFUND_UNSETTLED) is None
    assert flag_refund(flagged.after, refund(), ReviewReason.REFUND_CONTRADICTED) is not None


def test_what_was_processed_has_a_time_and_what_failed_has_a_reason_and_no_time() -> None:
    done = apply_news(payment(reserved=20_000), refund(S.PROCESSING), RefundNews(status=S.SUCCESS), NOW)
    assert done is not None
    assert done.after.processed_at == NOW
    back = apply_news(
        done.payment.after,
        done.after,
        RefundNews(status=S.FAILED, code=ErrorCode.PAYSTACK_API_ERROR, message="returned"),
        NOW,
    )
    assert back is not None
    assert (back.after.processed_at, back.after.failure_message) == (None, "returned")
    assert (back.payment.event, back.payment.details["message"]) == (EventType.REFUND_FAILED, "returned")
    assert back.after.estimated_settlement is None


# A step opens a refund (its amount, whether it is of surplus money) or tells news of one of those opened before.
STEPS = st.lists(
    st.tuples(st.integers(1, AMOUNT), st.booleans())
    | st.tuples(st.integers(0, 5), st.sampled_from([s for s in S if s is not S.PENDING])),
    max_size=25,
)


@given(STEPS)
def test_sums_never_exceed_what_was_paid_and_the_status_is_what_the_sums_say(
    steps: list[tuple[int, bool] | tuple[int, RefundStatus]],
) -> None:
    paid, book = payment(), dict[int, Refund]()
    for number, what in steps:
        if isinstance(what, RefundStatus):
            change = apply_news(paid, book[number], RefundNews(status=what), NOW) if number in book else None
        else:
            change = _open(paid, number, n=len(book), is_surplus=what)
        if change is None:
            continue
        paid = change.payment.after
        book[change.after.id.int] = change.after
        own = [one for one in book.values() if not one.is_surplus]
        refunded = sum(one.money.amount for one in own if one.status is S.SUCCESS)
        reserved = sum(one.money.amount for one in own if one.status is not S.FAILED)
        assert 0 <= refunded <= reserved <= AMOUNT
        assert (paid.refunded, paid.refunds_reserved) == (refunded, reserved)
        assert paid.status is (
            PaymentStatus.SUCCESS
            if refunded == 0
            else PaymentStatus.REFUNDED
            if refunded == AMOUNT
            else PaymentStatus.PARTIALLY_REFUNDED
        )


def _open(paid: Payment, amount: int, *, n: int, is_surplus: bool) -> RefundChange | None:
    try:
        granted = amount if is_surplus else refundable_amount(paid, amount)
    except RefusedError:
        return None
    return open_refund(paid, refund(amount=granted, is_surplus=is_surplus, n=n))


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        (PaymentStatus.REFUNDED, PaymentStatus.SUCCESS, True),
        (PaymentStatus.REFUNDED, PaymentStatus.PARTIALLY_REFUNDED, True),
        (PaymentStatus.REFUNDED, PaymentStatus.REFUNDED, False),
        (PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.SUCCESS, False),
        (PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED, False),
    ],
)
def test_only_a_payment_that_was_refunded_whole_had_let_go_of_its_order(
    before: PaymentStatus, after: PaymentStatus, again: bool
) -> None:
    assert holds_its_order_again(payment(before), payment(after)) is again


@pytest.mark.parametrize(
    ("searches", "since", "enough"),
    [
        (3, 10 * MINUTE, True),
        (2, 60 * MINUTE, False),
        (3, 10 * MINUTE - timedelta(seconds=1), False),
        (9, MINUTE, False),
    ],
)
def test_a_refund_never_arrived_after_three_searches_and_ten_minutes(
    searches: int, since: timedelta, enough: bool
) -> None:
    assert is_searched_enough(searches, since) is enough


def test_searches_this_far_apart_are_enough_when_there_are_three() -> None:
    assert is_searched_enough(3, 2 * SEARCH_PAUSE)


@pytest.mark.parametrize(
    ("age", "pause"),
    [
        (timedelta(0), MINUTE),
        (5 * MINUTE, 5 * MINUTE),
        (timedelta(hours=5), timedelta(hours=5)),
        (timedelta(days=9), timedelta(hours=6)),
    ],
)
def test_looks_grow_seldom_with_age(age: timedelta, pause: timedelta) -> None:
    assert next_look_after(age) == pause


def test_events_are_worth_a_look_where_they_could_tell_something_new() -> None:
    worth = {(status, told) for status, told in product(S, S) if is_worth_asking(refund(status), told)}
    assert worth == {(before, after) for before in S for after in MOVES[before]} | {(S.FAILED, S.SUCCESS)}
    assert not is_worth_asking(replace(refund(S.FAILED), gateway_refund_id=None), S.SUCCESS)


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [("2026-03-02", 10, "2026-03-16"), ("2026-03-06", 1, "2026-03-09"), ("2026-03-07", 1, "2026-03-09")],
)
def test_working_days_leave_weekends_out(start: str, days: int, end: str) -> None:
    assert add_working_days(datetime.fromisoformat(start), days) == datetime.fromisoformat(end)
