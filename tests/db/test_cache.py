"""The cache serves no answer that a committed change has made wrong, and nobody notices when Redis is gone."""

import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import redis

from db import payments
from db.cache import Cache, CacheKind, Stale
from db.connection import Database
from db.payments import SourcedChange
from domain.payment import ChargeFailed, Source
from domain.state_machine import apply
from ops.embedded.ports import answers, free_port
from tests.patience import eventually
from tests.stories import accept, rows

MINE = Stale(CacheKind.HISTORY, "user-1")


@pytest.fixture
def cache(redis_url: str) -> Generator[Cache]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    cache = Cache(redis_url)
    yield cache
    cache.close()


class Answering:
    """Something to compute, which counts how often it was."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        return {"answer": self.times}


def ask(cache: Cache, compute: Any, owner: str = "user-1", kind: CacheKind = CacheKind.HISTORY, **question: Any) -> int:
    return cache.read(kind, owner, question, compute)["answer"]


def test_the_same_question_is_answered_once(cache: Cache) -> None:
    compute = Answering()
    assert [ask(cache, compute, limit=1) for _ in range(3)] == [1, 1, 1]
    assert ask(cache, compute, limit=2) == 2, "another question"
    assert ask(cache, compute, owner="user-2", limit=1) == 3, "another owner"
    assert ask(cache, compute, kind=CacheKind.METHODS, limit=1) == 4, "another kind"
    assert (cache.hits, cache.misses) == (2, 4)


def test_what_one_process_keeps_the_others_find(cache: Cache, redis_url: str) -> None:
    compute = Answering()
    ask(cache, compute)
    other = Cache(redis_url)
    assert ask(other, compute) == 1
    other.close()


def test_a_change_makes_every_answer_of_its_owner_wrong_and_no_other(cache: Cache) -> None:
    compute = Answering()
    ask(cache, compute, limit=1)
    ask(cache, compute, limit=2)
    ask(cache, compute, owner="user-2")
    cache.forget([MINE])
    assert [ask(cache, compute, limit=1), ask(cache, compute, limit=2)] == [4, 5]
    assert ask(cache, compute, owner="user-2") == 3


@pytest.mark.parametrize("warm", [True, False])
def test_an_answer_computed_before_a_change_is_never_served_after_it(cache: Cache, warm: bool) -> None:
    compute = Answering()
    if warm:
        ask(cache, compute, limit=9)

    def overtaken() -> dict[str, Any]:
        cache.forget([MINE])  # the change commits after we have looked, before we keep what we saw
        return {"answer": -1}

    assert ask(cache, overtaken) == -1
    assert ask(cache, compute) > 0


def test_answers_live_as_long_as_their_kind_says_and_no_longer(redis_url: str) -> None:
    cache = Cache(redis_url, methods_seconds=300)
    for kind, seconds in ((CacheKind.HISTORY, 120), (CacheKind.METHODS, 300)):
        ask(cache, Answering(), owner=f"user-of-{kind}", kind=kind)
        with redis.Redis.from_url(redis_url) as client:
            lives = [client.ttl(key) for key in client.keys(f"payfleet:{kind}:*:*")]
        assert lives
        assert all(seconds - 5 <= life <= seconds for life in lives if isinstance(life, int))
    cache.close()


def test_without_an_address_everything_is_computed() -> None:
    compute, cache = Answering(), Cache(None)
    assert [ask(cache, compute), ask(cache, compute)] == [1, 2]
    cache.forget([MINE])


@pytest.fixture
def mortal(tmp_path: Path) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis of one's own, to be killed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server to kill on this machine")
    port = free_port()
    process = subprocess.Popen([program, "--port", str(port), "--save", "", "--dir", str(tmp_path)])
    eventually(lambda: answers(port))
    yield f"redis://127.0.0.1:{port}/0", process
    process.kill()
    process.wait()


def test_when_redis_dies_answers_are_computed_and_redis_is_left_alone_for_a_while(
    mortal: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, process = mortal
    compute, cache = Answering(), Cache(url)
    assert [ask(cache, compute), ask(cache, compute)] == [1, 1]
    process.kill()
    process.wait()
    assert ask(cache, compute) == 2
    monkeypatch.setattr(cache, "_client", None)  # whoever touched it now would fail
    assert ask(cache, compute) == 3
    cache.forget([MINE])


def test_a_redis_that_came_back_empty_serves_no_old_answer(cache: Cache, redis_url: str) -> None:
    compute = Answering()
    ask(cache, compute)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert ask(cache, compute) == 2


# What the database layer forgets by itself.


@pytest.fixture
def cached(migrated_url: str, database: Database, cache: Cache) -> Generator[Database]:
    with Database(migrated_url, minimum=1, maximum=4, name="cached", cache=cache) as connected:
        yield connected


def test_accepting_a_payment_forgets_its_users_history(cached: Database, cache: Cache) -> None:
    compute = Answering()
    ask(cache, compute)
    accept(cached)
    assert ask(cache, compute) == 2
    accept(cached, user_id="user-2")
    assert ask(cache, compute) == 2


def test_a_change_is_forgotten_after_its_commit_not_before(cached: Database, cache: Cache) -> None:
    compute = Answering()
    payment = accept(cached)
    with cached.transaction() as tx:
        locked = payments.lock_payments(tx, [payment.id])[payment.id]
        change = apply(locked, ChargeFailed(reference=payment.reference, reason="Declined", transaction_id=None))
        assert change is not None
        payments.write_changes(tx, [SourcedChange(change, Source.VERIFY, "req_1")])
        assert ask(cache, compute) == 1, "others still see what was before, and keep it"
    assert ask(cache, compute) == 2


def test_a_transaction_that_failed_forgets_too_since_its_commit_may_have_landed(cached: Database, cache: Cache) -> None:
    compute = Answering()
    ask(cache, compute)
    with pytest.raises(RuntimeError), cached.transaction() as tx:
        tx.stale.add(MINE)
        raise RuntimeError
    assert ask(cache, compute) == 2
    assert rows(cached, "SELECT 1") == [(1,)]
