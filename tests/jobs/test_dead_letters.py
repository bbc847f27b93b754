"""What an operator does to dead jobs: each act once, on record, and never at the cost of money."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL, Identifier

from db import dead_letters as table
from db import verifications
from db.audit import get_acts_on
from db.connection import Database
from db.dead_letters import TwinError
from domain.dead_letters import DeadJob, Wanted
from domain.fingerprint import fingerprint
from domain.ids import Prefix, show
from domain.instants import instant
from domain.jobs import JobKind, dedupe_key
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus
from jobs import dead_letters
from jobs.context import JobContext
from jobs.dead_letters import Operator, Outcome, Pace, Result, discard_jobs, find_dead_jobs, retry_jobs
from jobs.initialize import initialize_payments
from jobs.janitor import look_once
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.verify import verify_payments
from tests.burying import bury, job_now
from tests.jobs.scripted_paystack import ScriptedPaystack, refunds_and_resets
from tests.patience import eventually
from tests.refunding import ask_refund, pass_time, pay, refund_now
from tests.stories import (
    accept,
    event_body,
    event_types,
    history_of,
    job_ids,
    payment_now,
    rows,
    seal,
    store_webhook,
    transaction_data,
)

EVERYTHING = Wanted()


@pytest.fixture
def operator(database: Database) -> Operator:
    return Operator(database=database, seal=seal(), live=False, name="ada")


def retry(operator: Operator, *ids: UUID, wanted: Wanted = EVERYTHING, rate: float = 1_000) -> list[Outcome]:
    return list(retry_jobs(operator, ids, wanted=wanted, rate=rate))


def discard(operator: Operator, *ids: UUID, wanted: Wanted = EVERYTHING, reason: str = "seen to") -> list[Outcome]:
    return list(discard_jobs(operator, ids, wanted=wanted, reason=reason))


def results(outcomes: Sequence[Outcome]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


def acts(database: Database, job_id: UUID) -> list[tuple[str, str]]:
    with database.connection() as connection:
        return [(entry.actor, entry.action) for entry in get_acts_on(connection, show(Prefix.JOB, job_id))]


def details(database: Database, job_id: UUID) -> dict[str, Any]:
    with database.connection() as connection:
        return dict(get_acts_on(connection, show(Prefix.JOB, job_id))[-1].details)


def snapshot(database: Database) -> list[list[tuple[Any, ...]]]:
    """Everything that an act could have changed."""
    tables = ("jobs", "payments", "refunds", "events", "payment_history", "webhook_events", "audit_log")
    return [rows(database, SQL("SELECT * FROM {} ORDER BY 1, 2").format(Identifier(table))) for table in tables]


def is_waited_for(database: Database) -> bool:
    """Whether somebody waits for another's lock."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(rows(database, sql))


def a_dead_initialization(database: Database, error: str = "no luck") -> DeadJob:
    return bury(database, accept(database).id, error)


def a_dead_look(database: Database, payment: Payment) -> DeadJob:
    """A look at a payment that died; it is the newest job."""
    with database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_look")
    live = rows(database, "SELECT id FROM jobs WHERE kind = 'verify_payment' AND state <> 'dead'")
    return bury(database, live[0][0])


# Finding them


def test_the_dead_are_found_page_by_page_in_the_order_of_their_ids(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (table, dead_letters):
        monkeypatch.setattr(module, "PAGE_ROWS_MAX", 2)
    dead = [a_dead_initialization(database).id for _ in range(5)]
    accept(database)
    assert [job.id for job in find_dead_jobs(database, EVERYTHING)] == sorted(dead)


def test_what_dies_after_the_command_began_is_not_meant(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (table, dead_letters):
        monkeypatch.setattr(module, "PAGE_ROWS_MAX", 1)
    first = a_dead_initialization(database)
    found = find_dead_jobs(database, EVERYTHING)
    assert next(found).id == first.id
    pass_time(database, 1)
    a_dead_initialization(database)
    assert list(found) == []


def test_each_filter_narrows(database: Database) -> None:
    old = bury(database, accept(database).id, "no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1rc")
    pass_time(database, 60)
    new = a_dead_look(database, accept(database))

    def found(**wanted: Any) -> list[UUID]:
        return [job.id for job in find_dead_jobs(database, Wanted(**wanted))]

    assert found(kind="verify_payment") == [new.id]
    assert found(queue="payments") == [old.id]
    assert found(error=fingerprint("no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1rd")) == [old.id]
    assert found(since=new.died_at) == [new.id]
    assert found(before=new.died_at) == [old.id]
    assert found(kind="verify_payment", queue="payments") == []


def test_a_job_is_known_to_have_died_when_it_did_not_when_it_was_due(database: Database) -> None:
    payment = accept(database)
    pass_time(database, 3_600)
    job = bury(database, payment.id)
    assert job.died_at - job.created_at >= timedelta(hours=1)


# Retrying


def test_a_retried_job_has_all_its_tries_again_and_ends_its_work(operator: Operator, context: JobContext) -> None:
    database = operator.database
    payment = accept(database)
    bury(database, payment.id, "no connection")
    assert results(retry(operator, payment.id)) == [Result.RETRIED]
    assert job_now(database, payment.id) == ("ready", 1, 0, None), "the fencing token goes on"
    assert acts(database, payment.id) == [("ada", "job.retried")]
    initialize_payments(context, [payment.id])
    assert job_now(database, payment.id) is None
    assert payment_now(database, payment.id).authorization_url


def test_what_the_row_held_is_kept_in_the_audit_log(operator: Operator) -> None:
    database = operator.database
    job = bury(database, accept(database).id, "no connection")
    retry(operator, job.id)
    (run_at,) = rows(database, "SELECT run_at FROM jobs")[0]
    assert details(database, job.id) == {
        "kind": "initialize_payment",
        "queue": "payments",
        "payload": {"payment_id": str(job.id)},
        "attempts": 1,
        "failures": 1,
        "error": "no connection",
        "correlationId": "req_test",
        "createdAt": instant(job.created_at),
        "diedAt": instant(job.died_at),
        "runAt": instant(run_at),
    }


def test_retried_jobs_become_due_no_faster_than_their_rate(operator: Operator) -> None:
    database = operator.database
    ids = [a_dead_initialization(database).id for _ in range(7)]
    retry(operator, *ids, rate=2)
    due = [row[0] for row in rows(database, "SELECT run_at FROM jobs ORDER BY id")]
    assert min(later - earlier for earlier, later in pairwise(due)) >= timedelta(seconds=0.5)


def test_a_slot_that_passed_unused_is_not_caught_up_on() -> None:
    pace, noon, second = Pace(2), datetime(2026, 3, 1, 12, tzinfo=UTC), timedelta(seconds=1)
    slots = [pace.slot(at) for at in (noon, noon, noon, noon + 5 * second, noon + 5 * second)]
    assert [slot - noon for slot in slots] == [0 * second, second / 2, second, 5 * second, 5.5 * second]


def test_a_dead_job_gives_way_to_a_live_one_that_does_the_same_work(operator: Operator) -> None:
    database = operator.database
    payment = accept(database)
    dead = a_dead_look(database, payment)
    with database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_again")
    (twin,) = [id_ for id_ in job_ids(database, "verify_payment") if id_ != dead.id]
    (outcome,) = retry(operator, dead.id)
    assert (outcome.result, outcome.meaning) == (Result.GAVE_WAY, f"{show(Prefix.JOB, twin)} does the same work")
    assert job_ids(database, "verify_payment") == [twin]
    assert acts(database, dead.id) == [("ada", "job.gave_way")]
    assert details(database, dead.id)["twin"] == show(Prefix.JOB, twin)


@pytest.mark.parametrize("dry_run", [True, False])
def test_of_two_dead_jobs_for_the_same_work_one_is_retried(operator: Operator, dry_run: bool) -> None:
    payment = accept(operator.database)
    dead = [a_dead_look(operator.database, payment).id for _ in range(2)]
    outcomes = retry(replace(operator, dry_run=dry_run), *dead)
    assert results(outcomes) == [Result.RETRIED, Result.GAVE_WAY]
    assert show(Prefix.JOB, dead[0]) in outcomes[1].meaning


def test_a_twin_made_between_the_look_and_the_act_is_given_way_to(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = operator.database
    payment = accept(database)
    dead = a_dead_look(database, payment)
    really = table.revive_job

    def too_late(tx: Any, job_id: UUID, **at: Any) -> None:
        with database.connection() as connection:
            verifications.request_look(connection, payment.id, correlation_id="req_again")
        really(tx, job_id, **at)

    monkeypatch.setattr(table, "revive_job", too_late)
    assert results(retry(operator, dead.id)) == [Result.GAVE_WAY]
    assert acts(database, dead.id) == [("ada", "job.gave_way")]


def test_a_broken_dedupe_key_is_told_as_such(operator: Operator) -> None:
    database = operator.database
    payment = accept(database)
    dead = a_dead_look(database, payment)
    with database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_again")
    with pytest.raises(TwinError), database.transaction() as tx:
        table.revive_job(tx, dead.id, run_at=dead.died_at)


def test_two_operators_at_once_retry_each_job_once(operator: Operator) -> None:
    database = operator.database
    ids = [a_dead_initialization(database).id for _ in range(20)]
    with ThreadPoolExecutor(2) as threads:
        others = replace(operator, name="bob")
        both = list(threads.map(lambda who, order: retry(who, *order), [operator, others], [ids, ids[::-1]]))
    assert sorted(o.job_id for found in both for o in found if o.result is Result.RETRIED) == sorted(ids)
    assert all(len(acts(database, id_)) == 1 for id_ in ids)


def test_one_operator_waits_for_the_other_and_then_lets_the_job_be(operator: Operator) -> None:
    database = operator.database
    job = a_dead_initialization(database)
    with ThreadPoolExecutor(1) as threads, database.transaction() as tx:
        assert table.lock_dead_job(tx, job.id) is not None
        other = threads.submit(discard, operator, job.id)
        eventually(lambda: is_waited_for(database))
        table.revive_job(tx, job.id, run_at=job.died_at)
    assert results(other.result()) == [Result.NOT_DEAD]
    assert job_now(database, job.id) == ("ready", 1, 0, None)


def test_what_is_not_dead_or_not_meant_any_more_is_left_alone(operator: Operator) -> None:
    database = operator.database
    live, dead = accept(database).id, a_dead_initialization(database, "another error").id
    wanted = Wanted(error=fingerprint("an error"))
    before = snapshot(database)
    for act in (retry, discard):
        assert results(act(operator, live, uuid4())) == [Result.NOT_DEAD] * 2
        assert results(act(operator, dead, wanted=wanted)) == [Result.NOT_DEAD]
    assert snapshot(database) == before


# Discarding


def test_a_discarded_initialization_leaves_a_payment_that_still_ends(operator: Operator, context: JobContext) -> None:
    database = operator.database
    payment = accept(database)
    bury(database, payment.id)
    (outcome,) = discard(operator, payment.id, reason="the shop has closed")
    assert outcome.result is Result.DISCARDED
    assert outcome.meaning.startswith(f"its payment stays pending until {instant(payment.expires_at)}: then Paystack")
    assert job_now(database, payment.id) is None
    assert acts(database, payment.id) == [("ada", "job.discarded")]
    assert details(database, payment.id)["reason"] == "the shop has closed"
    pass_time(database, 3_601)
    assert look_once(database, limit=100) == 1
    verify_payments(context, job_ids(database, "verify_payment"))
    assert payment_now(database, payment.id).status is PaymentStatus.ABANDONED


def test_a_refund_that_never_left_fails_and_its_money_is_free_again(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack
) -> None:
    database = operator.database
    payment = pay(database)
    refund = ask_refund(database, payment)
    bury(database, refund.id, "no connection")
    (outcome,) = discard(operator, refund.id)
    assert outcome.result is Result.DISCARDED
    assert "never reached Paystack" in outcome.meaning
    after = refund_now(database, refund.id)
    assert (after.status, after.failure_code) == (RefundStatus.FAILED, "GATEWAY_ERROR")
    assert payment_now(database, payment.id).refundable == payment.money.amount
    assert history_of(database, payment.id)[-1] == ("refund.failed", "SUCCESS")
    (source,) = rows(database, "SELECT source FROM payment_history ORDER BY version DESC LIMIT 1")[0]
    assert source == "operator"
    assert "refund.failed" in event_types(database)
    again = ask_refund(database, payment)
    send_refunds(context, [again.id])
    assert refund_now(database, again.id).status is RefundStatus.PROCESSING
    assert len(paystack.calls) == 1


def a_lost_refund(context: JobContext, paystack: ScriptedPaystack) -> Refund:
    """A refund that Paystack has, though we never heard so; its job died."""
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(refunds_and_resets)
    send_refunds(context, [refund.id])
    pass_time(context.database, 2)
    bury(context.database, refund.id, "no answer in time")
    return refund


def test_a_refund_that_may_have_been_sent_is_not_discarded(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack
) -> None:
    database = operator.database
    refund = a_lost_refund(context, paystack)
    before = snapshot(database)
    (outcome,) = discard(operator, refund.id)
    assert outcome.result is Result.REFUSED
    assert f"Paystack may have {show(Prefix.REFUND, refund.id)}" in outcome.meaning
    assert snapshot(database) == before


def test_a_refund_that_may_have_been_sent_is_found_when_it_is_retried_and_not_sent_again(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = a_lost_refund(context, paystack)
    retry(operator, refund.id)
    send_refunds(context, [refund.id])
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING
    assert sum(call.method == "POST" for call in paystack.calls) == 1


def test_a_call_that_begins_while_its_refund_is_discarded_waits_and_is_never_made(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = operator.database
    refund = ask_refund(database, pay(database))
    bury(database, refund.id)
    really = dead_letters.subject_of
    with ThreadPoolExecutor(1) as threads:
        begun: list[Any] = []

        def send_meanwhile(tx: Any, operator: Operator, job: DeadJob) -> Any:
            subject = really(tx, operator, job)
            # A webhook's hint makes a live job for the same refund, and a worker begins with it.
            sql = """
                INSERT INTO jobs (id, kind, queue, payload, dedupe_key, run_at, correlation_id, created_at)
                SELECT gen_random_uuid(), kind, queue, payload, dedupe_key, run_at, 'c', created_at FROM jobs
                WHERE id = %s RETURNING id
            """
            ((twin,),) = rows(database, sql, job.id)
            begun.append(threads.submit(send_refunds, context, [twin]))
            eventually(lambda: begun[0].done() or is_waited_for(database))
            return subject

        monkeypatch.setattr(dead_letters, "subject_of", send_meanwhile)
        assert results(discard(operator, refund.id)) == [Result.DISCARDED]
        begun[0].result()
    assert refund_now(database, refund.id).status is RefundStatus.FAILED
    assert paystack.calls == []


def test_a_refund_that_paystack_is_busy_with_is_not_left_without_a_look(
    operator: Operator, context: JobContext
) -> None:
    database = operator.database
    refund = ask_refund(database, pay(database))
    send_refunds(context, [refund.id])
    pass_time(database, 3_600)
    (look,) = job_ids(database, "check_refund")
    bury(database, look)
    (outcome,) = discard(operator, look)
    assert outcome.result is Result.REFUSED
    assert "nothing else asks how it ends" in outcome.meaning
    retry(operator, look)
    check_refunds(context, [look])
    assert job_now(database, look) is None


def test_a_refund_that_another_job_sends_is_not_ended(operator: Operator) -> None:
    database = operator.database
    refund = ask_refund(database, pay(database))
    dead = bury(database, refund.id)
    key = dedupe_key(JobKind.SEND_REFUND, refund.id)
    sql = """
        INSERT INTO jobs (id, kind, queue, payload, dedupe_key, run_at, correlation_id, created_at)
        SELECT gen_random_uuid(), kind, queue, payload, %s, run_at, 'c', created_at FROM jobs WHERE id = %s
    """
    rows(database, sql, key, dead.id)
    (outcome,) = discard(operator, dead.id)
    assert (outcome.result, "does the same work" in outcome.meaning) == (Result.DISCARDED, True)
    assert refund_now(database, refund.id).status is RefundStatus.PENDING


def webhook_now(database: Database) -> tuple[Any, ...]:
    return rows(database, "SELECT verdict::text, event, reason FROM webhook_events")[0]


def a_dead_webhook(database: Database, body: bytes) -> DeadJob:
    store_webhook(database, body)
    return bury(database, job_ids(database, "apply_webhook")[0])


def test_what_a_discarded_webhook_told_of_money_paystack_is_asked_about(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack
) -> None:
    database = operator.database
    payment = accept(database)
    initialize_payments(context, [payment.id])
    webhook = a_dead_webhook(database, event_body("charge.success", transaction_data(payment)))
    (outcome,) = discard(operator, webhook.id)
    assert outcome.meaning == (
        f"its charge.success is not applied; Paystack is asked about {show(Prefix.PAYMENT, payment.id)} instead"
    )
    assert webhook_now(database) == ("ignored", "charge.success", "discarded")
    assert len(job_ids(database, "verify_payment")) == 1


def test_what_a_discarded_webhook_told_of_a_refund_paystack_is_asked_about(
    operator: Operator, context: JobContext
) -> None:
    database = operator.database
    payment = pay(database)
    refund = ask_refund(database, payment)
    send_refunds(context, [refund.id])
    (look,) = job_ids(database, "check_refund")
    data = {"status": "processed", "transaction_reference": payment.reference, "domain": "test"}
    webhook = a_dead_webhook(database, event_body("refund.processed", data))
    (outcome,) = discard(operator, webhook.id)
    assert f"asked about the refunds of {show(Prefix.PAYMENT, payment.id)} instead" in outcome.meaning
    sql = "SELECT run_at <= payfleet_now() FROM jobs WHERE id = %s"
    assert rows(database, sql, look) == [(True,)], "its look is brought forward"


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        (b"no json", "what its webhook says cannot be read"),
        (event_body("charge.success", {}), "its charge.success is about no payment of Payfleet's"),
        (event_body("customer.created", {}), "its customer.created is about no payment of Payfleet's"),
    ],
)
def test_a_webhook_that_tells_nothing_is_just_discarded(operator: Operator, body: bytes, meaning: str) -> None:
    database = operator.database
    webhook = a_dead_webhook(database, body)
    (outcome,) = discard(operator, webhook.id)
    assert outcome.meaning.startswith(meaning)
    assert webhook_now(database)[::2] == ("ignored", "discarded")
    assert rows(database, "SELECT count(*) FROM jobs") == [(0,)]


def test_a_webhook_that_no_key_opens_can_be_discarded(operator: Operator) -> None:
    database = operator.database
    webhook = a_dead_webhook(database, event_body("charge.success", {}))
    rows(database, "UPDATE webhook_events SET body_sealed = '\\x00'")
    (outcome,) = discard(operator, webhook.id)
    assert outcome.meaning.startswith("what its webhook says cannot be read")


def test_what_is_of_an_unknown_kind_is_retried_but_not_discarded(operator: Operator) -> None:
    database = operator.database
    job = a_dead_initialization(database)
    rows(database, "UPDATE jobs SET kind = 'settle_payouts'")
    assert results(discard(operator, job.id)) == [Result.REFUSED]
    assert results(retry(operator, job.id)) == [Result.RETRIED]


def test_a_defect_in_what_follows_leaves_the_job_dead_and_nothing_on_record(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = operator.database
    refund = ask_refund(database, pay(database))
    bury(database, refund.id)

    def breaks(*_: object) -> None:
        raise RuntimeError("a defect")

    before = snapshot(database)
    monkeypatch.setattr(dead_letters, "apply_refund_news", breaks)
    with pytest.raises(RuntimeError):
        discard(operator, refund.id)
    assert snapshot(database) == before


def test_a_dry_run_says_the_same_and_changes_nothing(
    operator: Operator, context: JobContext, paystack: ScriptedPaystack
) -> None:
    database = operator.database
    ids = [a_lost_refund(context, paystack).id, a_dead_initialization(database).id]
    never_left = ask_refund(database, pay(database, transaction_id=7002))
    ids += [bury(database, never_left.id).id]
    payment = accept(database)
    ids += [a_dead_look(database, payment).id, a_dead_look(database, payment).id]
    ids += [a_dead_webhook(database, event_body("charge.success", transaction_data(payment))).id]
    ids += [uuid4()]
    dry = replace(operator, dry_run=True)
    before = snapshot(database)
    said = results(retry(dry, *ids)), [(o.result, o.meaning) for o in discard(dry, *ids)]
    assert snapshot(database) == before
    assert [(o.result, o.meaning) for o in discard(operator, *ids)] == said[1]
    assert said[0][:5] == [Result.RETRIED] * 4 + [Result.GAVE_WAY]
