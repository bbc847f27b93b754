"""The clockwork: one leads, what was lost comes back, and standing still for months leaves partitions."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from db import jobs as ledger
from db import orders
from db.clock import advance_test_clock
from db.connection import Database
from tests.patience import eventually
from tests.stories import accept, job_ids, rows, settings_for
from workers import scheduler
from workers.scheduler import Leadership, look_once, run_scheduler


def test_one_of_two_leads_and_the_other_takes_over(migrated_url: str) -> None:
    one, other = Leadership(migrated_url), Leadership(migrated_url)
    assert one.is_mine()
    assert not other.is_mine()
    assert one.is_mine(), "and goes on leading"
    one.give_up()
    assert other.is_mine()
    assert not one.is_mine()
    other.give_up()


def test_a_leader_whose_connection_is_cut_leads_no_more_until_it_is_elected_again(migrated_url: str) -> None:
    one, other = Leadership(migrated_url), Leadership(migrated_url)
    assert one.is_mine()
    assert one._connection is not None
    one._connection.close()
    assert other.is_mine()
    assert not one.is_mine()
    one.give_up()
    other.give_up()


def test_two_threads_of_a_process_lead_together(migrated_url: str) -> None:
    for _ in range(5):
        leadership = Leadership(migrated_url)
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda _, one=leadership: one.is_mine(), range(2))) == [True, True]
        leadership.give_up()


def test_without_postgres_nobody_leads() -> None:
    assert not Leadership("postgresql://nobody@127.0.0.1:1/none").is_mine()


def test_a_running_scheduler_brings_a_lost_job_back(
    database: Database, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "SWEEP_SECONDS", 0.1)
    accept(database)
    with database.connection() as connection:
        ledger.take_due_jobs(connection, limit=1, everything=False)
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=61))
    stop = threading.Event()
    thread = threading.Thread(target=run_scheduler, args=(database, migrated_url, stop))
    thread.start()
    try:
        eventually(lambda: rows(database, "SELECT state::text FROM jobs") == [("ready",)])
    finally:
        stop.set()
        thread.join()


def pass_time(database: Database, **by: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(**by))


def looks(database: Database) -> int:
    return len(job_ids(database, "verify_payment"))


def test_a_payment_is_looked_at_when_its_customers_time_is_over_and_hourly_while_it_holds_its_order(
    database: Database,
) -> None:
    accept(database)
    pass_time(database, minutes=59)
    assert (look_once(database), looks(database)) == (0, 0)
    pass_time(database, minutes=1)
    assert (look_once(database), looks(database)) == (1, 1)
    assert look_once(database) == 0, "once"
    pass_time(database, hours=1)
    assert (look_once(database), looks(database)) == (1, 1), "and the earlier look is still to be made: it is joined"


def test_what_is_paid_or_over_is_not_looked_at(database: Database) -> None:
    paid, over = accept(database), accept(database)
    with database.transaction() as tx:
        orders.pay_orders(tx, [paid])
        orders.release_orders(tx, [over])
    pass_time(database, hours=2)
    assert look_once(database) == 0


def test_two_schedulers_at_once_make_one_look_of_each_payment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_LOOKS_MAX", 5)
    for _ in range(20):
        accept(database)
    pass_time(database, hours=2)
    with ThreadPoolExecutor(4) as threads:
        eventually(lambda: not any(threads.map(lambda _: look_once(database), range(4))))
    assert looks(database) == 20


def test_a_scheduler_that_died_before_it_was_done_loses_no_look(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(database)
    pass_time(database, hours=2)

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(orders, "look_later", die)
        look_once(database)
    assert (look_once(database), looks(database)) == (1, 1)
