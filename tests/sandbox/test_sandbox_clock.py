"""The clock fires what is due at its own instant and in order, whether it runs, stands or is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sandbox.clock import Clock, iso, parse_iso

T0 = parse_iso("2026-01-31T10:00:00Z")
Seen = list[tuple[str, int]]


def recorder(clock: Clock, seen: Seen) -> Callable[[str], Callable[[], Coroutine[Any, Any, None]]]:
    def named(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def action() -> None:
            seen.append((name, clock.now_ms() - T0))

        return action

    return named


def test_an_advance_runs_each_action_at_its_own_instant_in_order() -> None:
    async def run() -> Seen:
        clock, seen = Clock(frozen_at_ms=T0), Seen()
        act = recorder(clock, seen)
        clock.call_at(T0 + 2_000, act("second"))
        clock.call_at(T0 + 1_000, act("first"))
        clock.call_at(T0 + 2_000, act("second too"))
        clock.call_at(T0 + 9_000, act("later"))
        await clock.advance(5_000)
        assert clock.now_ms() == T0 + 5_000
        return seen

    assert asyncio.run(run()) == [("first", 1_000), ("second", 2_000), ("second too", 2_000)]


def test_what_an_action_schedules_within_the_advance_runs_in_it_too() -> None:
    async def run() -> Seen:
        clock, seen = Clock(frozen_at_ms=T0), Seen()
        act = recorder(clock, seen)

        async def again() -> None:
            clock.call_at(clock.now_ms() + 500, act("child"))

        clock.call_at(T0 + 1_000, again)
        clock.call_at(T0 + 2_000, act("sibling"))
        await clock.advance(3_000)
        return seen

    assert asyncio.run(run()) == [("child", 1_500), ("sibling", 2_000)]


def test_an_action_that_fails_does_not_stop_time(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Seen:
        clock, seen = Clock(frozen_at_ms=T0), Seen()

        async def broken() -> None:
            raise RuntimeError

        clock.call_at(T0 + 1, broken)
        clock.call_at(T0 + 2, recorder(clock, seen)("next"))
        await clock.advance(10)
        return seen

    assert asyncio.run(run()) == [("next", 2)]
    assert "an action that was due failed" in caplog.text


def test_a_frozen_clock_stands_still_but_what_is_due_now_happens() -> None:
    async def run() -> None:
        clock, seen = Clock(frozen_at_ms=T0), Seen()
        clock.call_at(T0, recorder(clock, seen)("due"))
        clock.call_at(T0 + 1, recorder(clock, seen)("not due"))
        await asyncio.sleep(0.05)
        assert seen == [("due", 0)]
        assert clock.now_ms() == T0

    asyncio.run(run())


def test_a_running_clock_fires_by_itself_and_actions_do_not_wait_for_each_other() -> None:
    async def run() -> None:
        clock, done = Clock(), asyncio.Event()

        async def slow() -> None:
            await asyncio.sleep(30)

        async def quick() -> None:
            done.set()

        clock.call_at(clock.now_ms(), slow)
        clock.call_at(clock.now_ms() + 20, quick)
        await asyncio.wait_for(done.wait(), 5)
        await clock.stop()

    asyncio.run(run())


def test_an_advance_waits_for_what_is_already_under_way() -> None:
    async def run() -> None:
        clock, finished = Clock(), list[int]()

        async def slow() -> None:
            await asyncio.sleep(0.1)
            finished.append(clock.now_ms())

        before = clock.now_ms()
        clock.call_at(before, slow)
        await asyncio.sleep(0.02)
        await clock.advance(60_000)
        assert finished
        assert clock.now_ms() >= before + 60_000
        assert clock.mode == "running"

    asyncio.run(run())


def test_time_never_goes_back_when_the_clock_is_frozen_moved_and_run_again() -> None:
    async def run() -> None:
        clock = Clock()
        seen = [clock.now_ms()]
        await clock.freeze()
        seen.append(clock.now_ms())
        await clock.advance(1_000)
        seen.append(clock.now_ms())
        await clock.run()
        seen.append(clock.now_ms())
        await clock.advance(1_000)
        seen.append(clock.now_ms())
        assert seen == sorted(seen)
        assert seen[-1] - seen[0] >= 2_000
        assert clock.offset_ms >= 2_000

    asyncio.run(run())


def test_forgetting_drops_what_was_due() -> None:
    async def run() -> None:
        clock, seen = Clock(frozen_at_ms=T0), Seen()
        clock.call_at(T0 + 1, recorder(clock, seen)("forgotten"))
        await clock.forget()
        await clock.advance(10)
        assert seen == []
        assert clock.mode == "running"

    asyncio.run(run())


def test_forgetting_ends_an_advance_that_is_under_way() -> None:
    async def run() -> None:
        clock, seen = Clock(), Seen()
        reached = asyncio.Event()

        async def slow() -> None:
            reached.set()
            await asyncio.sleep(0.05)

        clock.call_at(clock.now_ms() + 1_000, slow)
        clock.call_at(clock.now_ms() + 2_000, recorder(clock, seen)("forgotten"))
        advance = asyncio.create_task(clock.advance(3_000))
        await reached.wait()
        await clock.forget()
        await advance
        assert seen == []
        assert abs(clock.offset_ms) < 1_000

    asyncio.run(run())


def test_instants_are_written_as_paystack_writes_them() -> None:
    assert iso(T0 + 7) == "2026-01-31T10:00:00.007Z"
    assert parse_iso("2026-01-31T11:00:00+01:00") == T0
