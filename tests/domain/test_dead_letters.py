"""What discarding a dead job may do: a table over every kind of job and every state of what it is about."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.dead_letters import (
    AskInstead,
    DeadJob,
    Drop,
    EndRefund,
    Refuse,
    Subject,
    Told,
    decide_discarding,
    grouped,
    meaning_of_retry,
)
from domain.jobs import QUEUE_OF, JobKind
from domain.method import MethodStatus, PaymentMethod
from domain.money import Currency, Money
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def dead(kind: str = "verify_payment", **changes: Any) -> DeadJob:
    values: dict[str, Any] = {
        "id": uuid4(),
        "kind": kind,
        "queue": "verifications",
        "payload": {},
        "dedupe_key": None,
        "attempts": 14,
        "failures": 14,
        "error": "no luck",
        "correlation_id": "req",
        "created_at": NOON,
        "died_at": NOON,
    }
    return DeadJob(**values | changes)


def payment(status: PaymentStatus = PaymentStatus.PENDING, expires_at: datetime | None = NOON) -> Payment:
    return Payment(
        id=uuid4(),
        user_id="u",
        order_id="o",
        money=Money(100, Currency.NGN),
        status=status,
        version=1,
        reference_sequence=1,
        created_at=NOON,
        expires_at=expires_at,
    )


def refund(status: RefundStatus) -> Refund:
    return Refund(
        id=uuid4(),
        payment_id=uuid4(),
        money=Money(100, Currency.NGN),
        status=status,
        version=1,
        requested_by="u",
        gateway_transaction_id=1,
        created_at=NOON,
    )


def method(status: MethodStatus) -> PaymentMethod:
    columns: dict[str, Any] = {field.name: None for field in fields(PaymentMethod)}
    columns |= {"id": uuid4(), "user_id": "u", "status": status, "created_at": NOON}
    return PaymentMethod(**columns)


@pytest.mark.parametrize("kind", JobKind)
def test_a_job_about_nothing_is_dropped_and_nothing_is_lost(kind: JobKind) -> None:
    decided = decide_discarding(dead(kind), Subject())
    assert isinstance(decided, Drop)
    if kind is not JobKind.DEACTIVATE_PAYMENT_METHOD:
        assert decided.meaning.endswith("does not exist: nothing is lost")


@pytest.mark.parametrize("kind", [*JobKind, "of another release"])
def test_a_job_whose_work_a_live_one_does_is_dropped_whatever_it_is_about(kind: str) -> None:
    subject = Subject(twin=UUID(int=1), refund=refund(RefundStatus.PENDING), is_unsettled=True)
    assert decide_discarding(dead(kind), subject) == Drop(
        "job_00000000000000000000000001 does the same work: nothing is lost"
    )
    assert meaning_of_retry(dead(kind), subject).startswith("it gives way: job_")


@pytest.mark.parametrize("is_unsettled", [True, False])
@pytest.mark.parametrize("status", RefundStatus)
def test_a_refund_that_is_not_sent_fails_only_where_it_certainly_never_left(
    status: RefundStatus, is_unsettled: bool
) -> None:
    about = refund(status)
    decided = decide_discarding(dead("send_refund"), Subject(refund=about, is_unsettled=is_unsettled))
    if status is not RefundStatus.PENDING:
        assert decided == Drop(f"its refund is {status.lower()}: nothing is lost")
    elif is_unsettled:
        assert isinstance(decided, Refuse)
    else:
        assert isinstance(decided, EndRefund)
        assert decided.refund is about


@pytest.mark.parametrize("status", RefundStatus)
def test_a_refund_under_way_keeps_its_last_look(status: RefundStatus) -> None:
    decided = decide_discarding(dead("check_refund"), Subject(refund=refund(status)))
    under_way = status in {RefundStatus.PROCESSING, RefundStatus.NEEDS_ATTENTION}
    assert isinstance(decided, Refuse if under_way else Drop)


@pytest.mark.parametrize("kind", ["initialize_payment", "charge_payment_method", "verify_payment"])
@pytest.mark.parametrize("status", PaymentStatus)
def test_what_becomes_of_the_payment_of_a_dropped_job_is_said(kind: str, status: PaymentStatus) -> None:
    decided = decide_discarding(dead(kind), Subject(payment=payment(status)))
    assert isinstance(decided, Drop)
    ended = {PaymentStatus.FAILED, PaymentStatus.ABANDONED, PaymentStatus.CANCELLED}
    if status is PaymentStatus.PENDING or (kind == "verify_payment" and status is PaymentStatus.PROCESSING):
        assert "Paystack is" in decided.meaning
    elif kind == "verify_payment" and status in ended:
        assert "unless a webhook or somebody's question tells of money" in decided.meaning
    else:
        assert decided.meaning == f"its payment is {status.lower()}: nothing is lost"


def test_a_payment_of_no_known_end_is_not_said_to_have_one() -> None:
    decided = decide_discarding(dead("initialize_payment"), Subject(payment=payment(expires_at=None)))
    assert "stays pending until somebody asks" in decided.meaning


@pytest.mark.parametrize("status", MethodStatus)
def test_a_method_that_was_never_checked_is_said_to_stay_so(status: MethodStatus) -> None:
    decided = decide_discarding(dead("check_payment_method"), Subject(method=method(status)))
    assert isinstance(decided, Drop)
    assert ("stays pending" in decided.meaning) is (status is MethodStatus.PENDING)


def test_what_a_webhook_told_of_a_payment_of_ours_is_asked_about() -> None:
    ours = payment()
    told = Told(webhook_id=uuid4(), event="charge.success", payment_id=ours.id)
    decided = decide_discarding(dead("apply_webhook"), Subject(told=told, payment=ours))
    assert isinstance(decided, AskInstead)
    assert (decided.payment, decided.refund) == (ours, None)
    unknown = decide_discarding(dead("apply_webhook"), Subject(told=told))
    assert unknown == Drop("its charge.success is about no payment of Payfleet's: nothing is lost")


def test_an_id_that_is_none_is_no_id() -> None:
    job = dead(payload={"payment_id": str(UUID(int=5)), "refund_id": "nonsense", "webhook_id": None})
    assert job.id_of("payment_id") == UUID(int=5)
    assert [job.id_of(name) for name in ("refund_id", "webhook_id", "payment_method_id")] == [None, None, None]


def test_jobs_with_the_same_error_of_another_payment_are_one_group() -> None:
    def died(minute: int, kind: JobKind, error: str) -> DeadJob:
        at = NOON + timedelta(minutes=minute)
        return dead(kind, queue=QUEUE_OF[kind].value, error=error, died_at=at)

    jobs = [
        died(2, JobKind.VERIFY_PAYMENT, "no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1rc"),
        died(9, JobKind.VERIFY_PAYMENT, "no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1rd"),
        died(1, JobKind.VERIFY_PAYMENT, "no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1re.2"),
        died(5, JobKind.VERIFY_PAYMENT, "no answer"),
        died(5, JobKind.SEND_REFUND, "no answer"),
    ]
    groups = grouped(jobs)
    assert [(g.kind, g.queue, g.error, g.count) for g in groups] == [
        ("verify_payment", "verifications", "no transaction <reference>", 3),
        ("send_refund", "refunds", "no answer", 1),
        ("verify_payment", "verifications", "no answer", 1),
    ]
    assert (groups[0].first_at, groups[0].last_at) == (jobs[2].died_at, jobs[1].died_at)
    assert groups[0].example == jobs[1].id
