"""The job ledger: leases, fencing tokens, and what two processes at once can and cannot do to it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import pytest

from db import jobs as ledger
from db import payments
from db.clock import advance_test_clock
from db.connection import Database
from domain.jobs import ClaimedJob, JobKind
from domain.retry import Decision, Park, Postpone, RetryIn
from tests.patience import eventually
from tests.stories import accept, job_ids, rows, settings_for

KIND = JobKind.INITIALIZE_PAYMENT
LEASE = 60.0


def some_jobs(database: Database, count: int) -> list[UUID]:
    for _ in range(count):
        accept(database)
    return job_ids(database)


def claim(database: Database, ids: list[UUID]) -> list[ClaimedJob]:
    with database.transaction() as tx:
        return ledger.claim_jobs(tx, kind=KIND, ids=ids, lease_seconds=LEASE)


def finish(database: Database, jobs: list[ClaimedJob]) -> set[UUID]:
    with database.transaction() as tx:
        return ledger.finish_jobs(tx, jobs)


def decide(database: Database, job: ClaimedJob, decision: Decision, error: str = "no luck") -> bool:
    with database.transaction() as tx:
        return ledger.apply_decision(tx, job, decision, error=error)


def take_due(database: Database, *, limit: int = 500, everything: bool = False) -> list[UUID]:
    with database.connection() as connection:
        return [job.id for job in ledger.take_due_jobs(connection, limit=limit, everything=everything)]


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def state_of(database: Database, job: UUID) -> tuple[object, ...]:
    sql: LiteralString = "SELECT state::text, attempts, failures, last_error FROM jobs WHERE id = %s"
    return rows(database, sql, job)[0]


def test_a_claimed_job_is_nobody_elses_until_its_lease_ends(database: Database) -> None:
    ids = some_jobs(database, 2)
    assert [job.id for job in claim(database, ids)] == ids
    assert claim(database, ids) == []
    pass_time(database, LEASE - 1)
    assert claim(database, ids) == []
    pass_time(database, 2)
    again = claim(database, ids)
    assert [job.token for job in again] == [2, 2]
    assert [job.failures for job in again] == [0, 0]


def test_a_claim_carries_what_the_use_case_needs(database: Database) -> None:
    payment = accept(database)
    (job,) = claim(database, job_ids(database))
    assert (job.token, job.payload, job.correlation_id) == (1, {"payment_id": str(payment.id)}, "req_test")


def test_a_job_that_is_not_due_is_not_claimed(database: Database) -> None:
    (job,) = claim(database, some_jobs(database, 1))
    assert decide(database, job, RetryIn(30))
    assert claim(database, [job.id]) == []
    assert take_due(database) == []
    pass_time(database, 31)
    assert take_due(database) == [job.id]
    assert [again.failures for again in claim(database, [job.id])] == [1]


def test_a_job_is_claimed_only_by_its_kind(database: Database) -> None:
    ids = some_jobs(database, 1)
    with database.transaction() as tx:
        assert ledger.claim_jobs(tx, kind=JobKind.APPLY_WEBHOOK, ids=ids, lease_seconds=LEASE) == []


def test_a_dead_job_is_neither_claimed_nor_read_nor_due(database: Database) -> None:
    (job,) = claim(database, some_jobs(database, 1))
    assert decide(database, job, Park())
    pass_time(database, 10 * LEASE)
    assert claim(database, [job.id]) == []
    with database.connection() as connection:
        assert ledger.read_jobs(connection, kind=KIND, ids=[job.id]) == []
        assert ledger.return_lost_jobs(connection, unclaimed_seconds=0, limit=10) == 0
    assert take_due(database, everything=True) == []
    assert state_of(database, job.id) == ("dead", 1, 1, "no luck")


def test_being_postponed_counts_as_no_failure(database: Database) -> None:
    (job,) = claim(database, some_jobs(database, 1))
    assert decide(database, job, Postpone(0), "quota spent")
    assert state_of(database, job.id) == ("ready", 1, 0, "quota spent")
    assert take_due(database) == [job.id]


@pytest.mark.parametrize("decision", [RetryIn(1), Postpone(1), Park()])
def test_a_stalled_run_can_neither_finish_nor_reschedule_after_another_claim(
    database: Database, decision: Decision
) -> None:
    (stalled,) = claim(database, some_jobs(database, 1))
    pass_time(database, LEASE + 1)
    (newer,) = claim(database, [stalled.id])
    assert finish(database, [stalled]) == set()
    assert not decide(database, stalled, decision, "from the past")
    assert state_of(database, newer.id) == ("sent", 2, 0, None)
    assert finish(database, [newer]) == {newer.id}


def test_a_job_is_finished_by_one_of_two_runs_at_once(database: Database) -> None:
    held = claim(database, some_jobs(database, 3))
    with database.transaction() as first:
        assert ledger.finish_jobs(first, held) == {job.id for job in held}
        with database.transaction() as second:
            assert ledger.finish_jobs(second, held) == set()
    assert job_ids(database) == []
    assert finish(database, held) == set()


def test_two_claims_at_once_share_the_jobs_without_overlap(database: Database) -> None:
    ids = some_jobs(database, 40)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda order: claim(database, order), [ids, ids[::-1]])
    assert sorted([job.id for job in [*one, *other]]) == ids


def test_batches_lock_payments_in_the_order_of_their_ids_so_they_cannot_deadlock(database: Database) -> None:
    low, *_, high = sorted(accept(database).id for _ in range(30))
    try_lock = "SELECT id FROM payments WHERE id = %s FOR UPDATE NOWAIT"

    def lock(order: list[UUID]) -> int:
        with database.transaction() as tx:
            return len(payments.lock_payments(tx, order))

    with ThreadPoolExecutor(1) as threads, database.transaction() as first:
        assert len(payments.lock_payments(first, [low])) == 1
        batch = threads.submit(lock, [high, low])
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        eventually(lambda: rows(database, waiting) == [(1,)])
        assert rows(database, try_lock, high) == [(high,)], "it waits for the low one without holding the high one"
        assert not batch.done()
    assert batch.result() == 2


def test_the_relay_takes_only_what_is_due_and_looks_back_a_bounded_time(database: Database) -> None:
    old, now, later = some_jobs(database, 3)
    rows(database, "UPDATE jobs SET run_at = payfleet_now() - interval '20 minutes' WHERE id = %s", old)
    rows(database, "UPDATE jobs SET run_at = payfleet_now() + interval '1 minute' WHERE id = %s", later)
    assert take_due(database) == [now]
    assert take_due(database, everything=True) == [old]
    assert take_due(database, everything=True) == []


def test_the_relay_takes_no_more_than_its_limit_oldest_first(database: Database) -> None:
    ids = some_jobs(database, 5)
    for age, job in enumerate(reversed(ids)):
        sql: LiteralString = "UPDATE jobs SET run_at = payfleet_now() - make_interval(secs => %s) WHERE id = %s"
        rows(database, sql, age, job)
    assert take_due(database, limit=2) == ids[:2]
    assert take_due(database, limit=2) == ids[2:4]


def test_two_relays_at_once_take_different_jobs(database: Database) -> None:
    ids = some_jobs(database, 6)
    with database.transaction() as one, database.transaction() as other:
        first = ledger.take_due_jobs(one, limit=4, everything=False)
        second = ledger.take_due_jobs(other, limit=4, everything=False)
    assert (len(first), len(second)) == (4, 2)
    assert sorted(job.id for job in [*first, *second]) == ids


def test_what_was_not_confirmed_is_ready_again_unless_a_worker_has_it(database: Database) -> None:
    claimed, unclaimed = some_jobs(database, 2)
    take_due(database)
    claim(database, [claimed])
    with database.connection() as connection:
        ledger.return_unsent_jobs(connection, [claimed, unclaimed])
    assert state_of(database, claimed)[0] == "sent"
    assert take_due(database) == [unclaimed]


def test_a_job_whose_message_was_lost_comes_back_after_a_while(database: Database) -> None:
    (job,) = some_jobs(database, 1)
    take_due(database)
    with database.connection() as connection:
        assert ledger.return_lost_jobs(connection, unclaimed_seconds=60, limit=10) == 0
        pass_time(database, 61)
        assert ledger.return_lost_jobs(connection, unclaimed_seconds=60, limit=10) == 1
    assert take_due(database) == [job]


def test_a_job_whose_run_died_comes_back_when_its_lease_ends(database: Database) -> None:
    (job,) = some_jobs(database, 1)
    claim(database, [job])
    with database.connection() as connection:
        pass_time(database, LEASE - 1)
        assert ledger.return_lost_jobs(connection, unclaimed_seconds=0, limit=10) == 0
        pass_time(database, 2)
        assert ledger.return_lost_jobs(connection, unclaimed_seconds=999, limit=10) == 1
    assert take_due(database) == [job]


def test_a_dead_job_is_announced_once_and_again_if_unconfirmed(database: Database) -> None:
    (job,) = claim(database, some_jobs(database, 1))
    decide(database, job, Park())
    with database.connection() as connection:
        assert [dead.id for dead in ledger.take_dead_jobs(connection, limit=10)] == [job.id]
        assert ledger.take_dead_jobs(connection, limit=10) == []
        ledger.return_dead_jobs(connection, [job.id])
        assert [dead.queue for dead in ledger.take_dead_jobs(connection, limit=10)] == ["payments"]


def test_two_live_jobs_cannot_share_a_dedupe_key_but_a_dead_one_does_not_count(database: Database) -> None:
    ids = some_jobs(database, 2)
    rows(database, "UPDATE jobs SET dedupe_key = 'k', state = 'dead' WHERE id = %s", ids[0])
    rows(database, "UPDATE jobs SET dedupe_key = 'k' WHERE id = %s", ids[1])
    with pytest.raises(Exception, match="jobs_dedupe_idx"):
        rows(database, "UPDATE jobs SET state = 'ready' WHERE id = %s", ids[0])
