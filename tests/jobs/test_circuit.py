"""Circuit breakers: opened by failures of any worker, tried again by exactly one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from db.circuits import get_circuits
from db.clock import advance_test_clock
from db.connection import Database
from jobs import circuit as module
from jobs.circuit import FAILURES_MAX, OPEN_SECONDS, OPEN_SECONDS_MAX, Circuit, Open, Pass
from tests.stories import settings_for

Worker = Callable[[], Circuit]


@pytest.fixture
def worker(database: Database, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Make the circuit as one more worker process sees it, always up to date."""
    monkeypatch.setattr(module, "_READ_AGAIN_SECONDS", 0.0)
    return lambda: Circuit(database, "paystack")


def wait_out(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def fail(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        leave = circuit.admit()
        assert isinstance(leave, Pass)
        circuit.failed(leave, "HTTP 503")


def open_seconds(circuit: Circuit) -> float:
    refused = circuit.admit()
    assert isinstance(refused, Open)
    return refused.seconds


def test_failures_in_a_row_open_it_for_every_worker(worker: Worker) -> None:
    one, other = worker(), worker()
    fail(one, 3)
    fail(other, FAILURES_MAX - 4)
    assert isinstance(other.admit(), Pass)
    fail(one)
    assert 0 < open_seconds(one) <= OPEN_SECONDS
    assert 0 < open_seconds(other) <= OPEN_SECONDS
    assert other.seconds_open() > 0


def test_a_success_in_between_starts_the_count_anew(worker: Worker) -> None:
    circuit = worker()
    for _ in range(3):
        fail(circuit, FAILURES_MAX - 1)
        leave = circuit.admit()
        assert isinstance(leave, Pass)
        circuit.worked(leave)
    assert isinstance(circuit.admit(), Pass)


def test_when_its_time_is_over_one_probe_passes_whatever_the_number_of_workers(
    database: Database, worker: Worker
) -> None:
    circuits = [worker() for _ in range(4)]
    fail(circuits[0], FAILURES_MAX)
    wait_out(database, OPEN_SECONDS + 0.1)
    with ThreadPoolExecutor(16) as threads:
        answers = [future.result() for future in [threads.submit(circuits[n % 4].admit) for n in range(64)]]
    passes = [answer for answer in answers if isinstance(answer, Pass)]
    assert [leave.is_probe for leave in passes] == [True]


def test_a_probe_that_works_closes_it_for_everyone(database: Database, worker: Worker) -> None:
    one, other = worker(), worker()
    fail(one, FAILURES_MAX)
    wait_out(database, OPEN_SECONDS + 0.1)
    probe = other.admit()
    assert isinstance(probe, Pass)
    other.worked(probe)
    assert one.admit() == Pass(probe.generation)
    fail(one, FAILURES_MAX - 1)  # the count starts at nothing
    assert isinstance(one.admit(), Pass)


def test_each_probe_that_fails_doubles_the_wait_up_to_a_bound(database: Database, worker: Worker) -> None:
    circuit = worker()
    fail(circuit, FAILURES_MAX)
    waits: list[float] = []
    for _ in range(5):
        wait_out(database, OPEN_SECONDS_MAX + 0.1)
        probe = worker().admit()
        assert isinstance(probe, Pass)
        circuit.failed(probe, "HTTP 503")
        waits.append(open_seconds(worker()))
    assert [round(wait) for wait in waits] == [10, 20, 30, 30, 30]


def test_the_probe_of_a_dead_worker_is_taken_over(database: Database, worker: Worker) -> None:
    fail(worker(), FAILURES_MAX)
    wait_out(database, OPEN_SECONDS + 0.1)
    lost = worker().admit()
    assert isinstance(lost, Pass)
    assert isinstance(worker().admit(), Open)
    wait_out(database, 46)
    second = worker().admit()
    assert isinstance(second, Pass)
    # The first wakes up after all; its word no longer counts.
    circuit = worker()
    circuit.worked(lost)
    assert isinstance(worker().admit(), Open)
    circuit.worked(second)
    assert isinstance(worker().admit(), Pass)


def test_late_failures_of_calls_from_before_the_recovery_do_not_open_it_again(
    database: Database, worker: Worker
) -> None:
    circuit = worker()
    stragglers = [circuit.admit() for _ in range(FAILURES_MAX)]
    fail(circuit, FAILURES_MAX)
    wait_out(database, OPEN_SECONDS + 0.1)
    probe = circuit.admit()
    assert isinstance(probe, Pass)
    circuit.worked(probe)
    assert isinstance(circuit.admit(), Pass)
    for leave in stragglers:
        assert isinstance(leave, Pass)
        circuit.failed(leave, "no answer in time")
    assert isinstance(circuit.admit(), Pass)


def test_a_late_success_does_not_close_it(worker: Worker) -> None:
    circuit = worker()
    early = circuit.admit()
    assert isinstance(early, Pass)
    fail(circuit, FAILURES_MAX)
    circuit.worked(early)
    assert isinstance(worker().admit(), Open)


def test_it_lets_calls_pass_while_postgres_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.connection._POOL_WAIT_SECONDS", 0.2)
    with Database("postgresql://127.0.0.1:1/none?connect_timeout=1", minimum=0, maximum=1, name="away") as away:
        circuit = Circuit(away, "paystack")
        leave = circuit.admit()
        assert isinstance(leave, Pass)
        circuit.failed(leave, "HTTP 503")
        assert isinstance(circuit.admit(), Pass)


def test_its_state_can_be_seen(database: Database, worker: Worker) -> None:
    fail(worker(), FAILURES_MAX)
    with database.connection() as connection:
        [row] = get_circuits(connection)
    assert (row.name, row.failures, row.last_error) == ("paystack", FAILURES_MAX, "HTTP 503")
    assert row.opened_at is not None
    assert row.open_seconds is not None
    assert 0 < row.open_seconds <= OPEN_SECONDS
