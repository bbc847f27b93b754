"""The quota governor: what leaves never exceeds what Paystack allows, over all workers."""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from domain.quotas import KEPT_FOR, Endpoint, Lane
from jobs.paystack import quota as module
from jobs.paystack.quota import Quota

LIMIT = 100
Worker = Callable[[], Quota]


@pytest.fixture
def worker(redis_url: str) -> Worker:
    """Make the quotas as one more worker process sees them."""
    account = secrets.token_hex(4)
    return lambda: Quota(redis_url, dict.fromkeys(Endpoint, LIMIT), account=account)


def taken(quota: Quota, lane: Lane, endpoint: Endpoint = Endpoint.VERIFY) -> int:
    """Take until there is no more."""
    count = 0
    while quota.take(endpoint, lane) == 0:
        count += 1
    return count


def test_many_workers_together_take_no_more_than_the_limit(worker: Worker) -> None:
    quotas = [worker() for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        waits = list(threads.map(lambda n: quotas[n % 4].take(Endpoint.INITIALIZE, Lane.CHECKOUT), range(3 * LIMIT)))
    assert waits.count(0) == LIMIT


def test_each_endpoint_has_a_quota_of_its_own(worker: Worker) -> None:
    quota = worker()
    assert taken(quota, Lane.CHECKOUT, Endpoint.INITIALIZE) == LIMIT
    assert quota.take(Endpoint.CHARGE_AUTHORIZATION, Lane.CHECKOUT) == 0


def test_whoever_comes_too_late_is_told_to_come_later_than_those_before(worker: Worker) -> None:
    quota = worker()
    taken(quota, Lane.CHECKOUT, Endpoint.INITIALIZE)
    waits = [quota.take(Endpoint.INITIALIZE, Lane.CHECKOUT) for _ in range(50)]
    assert waits[0] > module.WINDOW_SECONDS - 5
    between = [later - earlier for earlier, later in pairwise(waits)]
    # As many in a window as may be.
    assert all(gap == pytest.approx(module.WINDOW_SECONDS / LIMIT, abs=0.2) for gap in between)
    assert waits[-1] - waits[0] == pytest.approx(49 * module.WINDOW_SECONDS / LIMIT, abs=0.5)


def test_what_left_long_enough_ago_makes_room(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_SECONDS", 2)
    quota = worker()
    assert taken(quota, Lane.CHECKOUT) > 0
    wait = quota.take(Endpoint.VERIFY, Lane.CHECKOUT)
    assert 0 < wait < 4
    time.sleep(2.1)
    assert taken(quota, Lane.CHECKOUT) > 0


def test_no_stretch_of_a_window_ever_holds_more_than_the_limit(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_SECONDS", 2)
    quota = worker()
    passed: list[float] = []
    until = time.monotonic() + 5
    while (now := time.monotonic()) < until:
        if quota.take(Endpoint.INITIALIZE, Lane.CHECKOUT) == 0:
            passed.append(now)
    assert len(passed) > LIMIT
    # Seconds are counted whole, so a stretch that is a second shorter is the one that can be held against it.
    assert all(later - earlier > 1 for earlier, later in zip(passed, passed[LIMIT:], strict=False))


@pytest.mark.parametrize("greedy", list(Lane))
def test_no_lane_can_use_up_what_is_kept_for_another(worker: Worker, greedy: Lane) -> None:
    quota = worker()
    shares = {lane: share for lane, share in KEPT_FOR[Endpoint.VERIFY].items() if lane is not greedy}
    kept = {lane: int(LIMIT * share) for lane, share in shares.items()}
    assert taken(quota, greedy) == LIMIT - sum(kept.values())
    assert {lane: taken(quota, lane) for lane in kept} == kept


def test_a_429_closes_the_endpoint_for_every_worker(worker: Worker) -> None:
    one, other = worker(), worker()
    one.close(Endpoint.INITIALIZE, 30, None)
    assert 25 < other.take(Endpoint.INITIALIZE, Lane.CHECKOUT) <= 31
    assert other.take(Endpoint.VERIFY, Lane.CHECKOUT) == 0


def test_a_429_teaches_every_worker_a_lower_limit(worker: Worker) -> None:
    one, other = worker(), worker()
    one.close(Endpoint.INITIALIZE, 0, 7)
    assert taken(other, Lane.CHECKOUT, Endpoint.INITIALIZE) == 7


def test_a_429_never_raises_the_limit(worker: Worker) -> None:
    one, other = worker(), worker()
    one.close(Endpoint.INITIALIZE, 0, 10 * LIMIT)
    assert taken(other, Lane.CHECKOUT, Endpoint.INITIALIZE) == LIMIT


def test_without_redis_each_worker_keeps_to_a_part_of_the_limit() -> None:
    quota = Quota("redis://127.0.0.1:1/0", dict.fromkeys(Endpoint, LIMIT), account="away")
    assert taken(quota, Lane.CHECKOUT) == LIMIT // 4
    assert 0 < quota.take(Endpoint.VERIFY, Lane.CHECKOUT) <= module.WINDOW_SECONDS + 1
    assert quota.usage() is None


def test_without_redis_a_worker_remembers_its_own_429() -> None:
    quota = Quota(None, dict.fromkeys(Endpoint, LIMIT), account="alone")
    quota.close(Endpoint.INITIALIZE, 30, None)
    assert 25 < quota.take(Endpoint.INITIALIZE, Lane.CHECKOUT) <= 30
    assert taken(quota, Lane.CHECKOUT) == LIMIT


def test_how_much_is_used_and_until_when_others_wait_can_be_seen(worker: Worker) -> None:
    quota = worker()
    taken(quota, Lane.CHECKOUT, Endpoint.INITIALIZE)
    wait = [quota.take(Endpoint.INITIALIZE, Lane.CHECKOUT) for _ in range(10)][-1]
    quota.close(Endpoint.VERIFY, 20, 50)
    seen = {usage.endpoint: usage for usage in worker().usage() or ()}
    assert seen[Endpoint.INITIALIZE].used[Lane.CHECKOUT] == seen[Endpoint.INITIALIZE].limit == LIMIT
    assert seen[Endpoint.INITIALIZE].drained_in_seconds == pytest.approx(wait, abs=2)
    assert seen[Endpoint.VERIFY].limit == 50
    assert seen[Endpoint.VERIFY].closed_seconds == pytest.approx(20, abs=2)
    assert seen[Endpoint.FETCH_REFUND].drained_in_seconds == 0
