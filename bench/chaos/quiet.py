"""After the last fault: how long until nothing is left to do, and what then still waits, for what.

Some things wait by rule: Paystack tries a webhook again after three minutes, a refund whose answer was lost is searched
for during ten. Nobody sits through that: once two minutes have passed, the clocks of Payfleet and of the sandbox are
moved on.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from bench.chaos.arena import Arena
from bench.chaos.books import Leftover, read_leftovers
from bench.chaos.customers import Customers

QUIET_SECONDS = 120.0
_WEBHOOK_RETRY_SECONDS = 185  # Paystack's own, a little more than three minutes
# Longer than the sandbox takes over its slowest call: clocks are not moved while one is under way, or a refund that is
# only slow would be taken for one that never arrived.
_CALLS_END_SECONDS = 45.0
_STEP_SECONDS = 300
_STEPS_MAX = 24
_STEP_LASTS_SECONDS = 20.0
_ADVANCE = "UPDATE test_clock SET clock_offset = clock_offset + make_interval(secs => %s)"
_DUE = "SELECT count(*) FROM jobs WHERE state <> 'dead' AND coalesce(lease_until, run_at) <= payfleet_now()"


@dataclass(kw_only=True)
class Settled:
    """How it came to rest. `seconds` is None when two minutes were not enough.

    `late` waits for nothing: no step of its own is going to end it. `waited` counts, by its reason, what had a next
    step after the two minutes; `moved_seconds` is how far clocks were moved on for that.
    """

    seconds: float | None = None
    late: list[Leftover] = field(default_factory=list[Leftover])
    waited: Counter[str] = field(default_factory=Counter[str])
    moved_seconds: int = 0


async def settle(arena: Arena, customers: Customers, *, patience: float = QUIET_SECONDS) -> Settled:
    """Wait until nothing is left to do; move clocks on for what waits by rule."""
    begun = time.monotonic()
    await arena.control("clock", advance_seconds=_WEBHOOK_RETRY_SECONDS)
    settled = Settled()
    if await _wait(arena, customers, seconds=patience - (time.monotonic() - begun)):
        settled.seconds = time.monotonic() - begun
        return settled
    await asyncio.sleep(max(0.0, _CALLS_END_SECONDS - (time.monotonic() - begun)))
    left = await asyncio.to_thread(read_leftovers, arena.postgres.url)
    settled.late = unforeseen(left)
    settled.waited = Counter(
        f"{one.subject.split()[0]}: {one.reason or one.state}" for one in left if one.what == "job"
    )
    for _ in range(_STEPS_MAX):
        await asyncio.to_thread(arena.look, _ADVANCE + " RETURNING 1", _STEP_SECONDS)
        await arena.control("clock", advance_seconds=_STEP_SECONDS)
        settled.moved_seconds += _STEP_SECONDS
        if await _wait(arena, customers, seconds=_STEP_LASTS_SECONDS, or_nothing_due=True):
            break
    return settled


def unforeseen(leftovers: Sequence[Leftover]) -> list[Leftover]:
    """What no step of its own is going to end: a dead job, or a thing that no job of the ledger is about."""
    coming = [one.subject for one in leftovers if one.what == "job" and one.next_at is not None]
    return [
        one
        for one in leftovers
        if one.next_at is None and not any(one.subject in subject for subject in coming if one.what != "job")
    ]


async def _wait(arena: Arena, customers: Customers, *, seconds: float, or_nothing_due: bool = False) -> bool:
    """Whether nothing was left, and nobody waited, in time; `or_nothing_due` gives up when nothing is at work."""
    deadline = time.monotonic() + seconds
    idle = 0
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            if not customers.open and not await asyncio.to_thread(read_leftovers, arena.postgres.url):
                return True
            if or_nothing_due:
                due = (await asyncio.to_thread(arena.look, _DUE))[0][0]
                idle = 0 if due else idle + 1
                if idle > 3 and customers.open == 0:
                    return False
        await asyncio.sleep(1.0)
    return False
