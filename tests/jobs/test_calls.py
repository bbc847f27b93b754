"""Calls side by side: every result arrives once, errors beside the others, and never more calls than threads."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.calls import GatewayThreads
from tests.patience import eventually


@pytest.fixture
def gateway() -> Generator[GatewayThreads]:
    gateway = GatewayThreads(3)
    yield gateway
    gateway.close()


def test_every_result_arrives_once_and_an_error_beside_them(gateway: GatewayThreads) -> None:
    with gateway.seats(10) as seats:
        arrived = [pair for group in seats.as_they_arrive(lambda x: 12 // x, range(-5, 5)) for pair in group]
    assert sorted(item for item, _ in arrived) == list(range(-5, 5))
    assert {item for item, result in arrived if isinstance(result, Exception)} == {0}
    assert dict(arrived)[4] == 3


def test_there_are_never_more_calls_than_threads(gateway: GatewayThreads) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def call(_: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.002)
        with lock:
            under_way -= 1

    def batch(size: int) -> None:
        with gateway.seats(size) as seats:
            for _ in seats.as_they_arrive(call, range(size)):
                pass

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(batch, [1, 2, 3, 9, 1, 2, 5, 3, 1, 1]))
    assert most == 3
    assert gateway._free == 3


def test_a_batch_waits_for_its_seats_and_is_not_overtaken(gateway: GatewayThreads) -> None:
    release, order = threading.Event(), []

    def hold(size: int) -> None:
        with gateway.seats(size) as seats:
            for _ in seats.as_they_arrive(lambda _: release.wait(30), range(size)):
                pass

    def batch(size: int) -> None:
        with gateway.seats(size):
            order.append(size)

    with ThreadPoolExecutor(3) as threads:
        holding = threads.submit(hold, 2)
        eventually(lambda: gateway._free == 1)
        large = threads.submit(batch, 3)
        eventually(gateway._entrance.locked)
        small = threads.submit(batch, 1)
        assert order == []
        release.set()
        for future in (holding, large, small):
            future.result()
    assert order == [3, 1]


def test_seats_come_back_when_nothing_is_called_or_the_batch_fails(gateway: GatewayThreads) -> None:
    with gateway.seats(2):
        assert gateway._free == 1
    with gateway.seats(0) as none:
        assert list(none.as_they_arrive(lambda _: None, [])) == []
    with pytest.raises(LookupError), gateway.seats(3):
        raise LookupError
    assert gateway._free == 3
