"""The one clock of the sandbox: it runs, stands still or is moved, and fires what is due in order.

Every time the sandbox shows or compares is milliseconds since the Unix epoch taken from here, and whatever
has to happen later is handed to :meth:`Clock.call_at`. That is why months of webhook retries can pass in a
test within a second, each at its own instant.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Literal

Action = Callable[[], Coroutine[Any, Any, None]]
Mode = Literal["running", "frozen"]

logger = logging.getLogger(__name__)


def iso(at_ms: int) -> str:
    """Write an instant as Paystack does: ``2024-08-22T09:15:02.000Z``."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def parse_iso(text: str) -> int:
    """Read an ISO 8601 date or instant as milliseconds; without a zone it is UTC.

    Raises:
        ValueError: if the text is no such date.

    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


class Clock:
    """Time and the queue of what is due.

    While it runs, due actions start as tasks of their own, so that a slow webhook receiver holds up nothing.
    While :meth:`advance` steps, time stands at the instant of the action being run and they run one by one.
    """

    def __init__(self, *, offset_ms: int = 0, frozen_at_ms: int | None = None) -> None:
        """Start ``offset_ms`` ahead of the machine's time, or standing still at an instant."""
        # The wall clock may jump; elapsed time is monotonic, so only its origin comes from the wall.
        self._origin_ms = time.time_ns() // 1_000_000
        self._origin_monotonic_ns = time.monotonic_ns()
        self._offset_ms = offset_ms
        self._frozen_at_ms = frozen_at_ms
        self._stepping_at_ms: int | None = None
        self._due: list[tuple[int, int, Action]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._running: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Lock()

    def now_ms(self) -> int:
        """Return the sandbox's time in milliseconds since the epoch."""
        if self._stepping_at_ms is not None:
            return self._stepping_at_ms
        if self._frozen_at_ms is not None:
            return self._frozen_at_ms
        return self._wall_ms() + self._offset_ms

    @property
    def mode(self) -> Mode:
        """Tell whether time passes by itself."""
        return "running" if self._frozen_at_ms is None else "frozen"

    @property
    def offset_ms(self) -> int:
        """Return how far this clock is ahead of the machine's, in milliseconds."""
        return self.now_ms() - self._wall_ms()

    @property
    def frozen_at_ms(self) -> int | None:
        """Return the instant the clock was stopped at, None while it runs."""
        return self._frozen_at_ms

    def call_at(self, at_ms: int, action: Action) -> None:
        """Run the action when the clock reaches ``at_ms``; actions of one instant keep their order."""
        heapq.heappush(self._due, (at_ms, next(self._order), action))
        self._arm()

    async def freeze(self) -> None:
        """Stop time where it is; what is due already still happens."""
        async with self._moving:
            if self._frozen_at_ms is None:
                self._frozen_at_ms = self.now_ms()
                self._rearm()

    async def run(self) -> None:
        """Let time pass again from where it stands."""
        async with self._moving:
            if self._frozen_at_ms is not None:
                self._offset_ms = self._frozen_at_ms - self._wall_ms()
                self._frozen_at_ms = None
                self._rearm()

    async def advance(self, by_ms: int) -> None:
        """Move forward, running each due action at its own instant and in order; return when all are done.

        An advance by 0 therefore waits for whatever is due or under way now.
        """
        async with self._moving:
            started_at = self.now_ms()
            target = started_at + by_ms
            self._stepping_at_ms = started_at
            try:
                while self._running:
                    await asyncio.wait(self._running)
                while self._due and self._due[0][0] <= target:
                    at_ms, _, action = heapq.heappop(self._due)
                    self._stepping_at_ms = max(self._stepping_at_ms, at_ms)
                    await _run_logged(action())
                self._stepping_at_ms = target
            finally:
                reached = self._stepping_at_ms
                self._stepping_at_ms = None
                if self._frozen_at_ms is None:
                    # The time the actions took counts too: the clock never goes back behind what was shown.
                    self._offset_ms += reached - started_at
                else:
                    self._frozen_at_ms = reached
                self._rearm()

    async def forget(self) -> None:
        """Drop everything due, abandon what is under way, and return to the machine's own time.

        An advance that is under way ends after the action it is at.
        """
        self._due.clear()
        async with self._moving:
            self._due.clear()
            for task in self._running:
                task.cancel()
            self._offset_ms = 0
            self._frozen_at_ms = None
            self._rearm()

    async def stop(self) -> None:
        """Abandon what is under way, so that the process can end."""
        self._due.clear()
        self._rearm()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _wall_ms(self) -> int:
        return self._origin_ms + (time.monotonic_ns() - self._origin_monotonic_ns) // 1_000_000

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm()

    def _arm(self) -> None:
        if self._stepping_at_ms is not None or not self._due:
            return
        at_ms = self._due[0][0]
        if self._timer is not None:
            if self._timer_at_ms <= at_ms:
                return
            self._timer.cancel()
            self._timer = None
        wait_ms = at_ms - self.now_ms()
        if wait_ms > 0 and self._frozen_at_ms is not None:
            return
        self._timer_at_ms = at_ms
        self._timer = asyncio.get_running_loop().call_later(max(wait_ms, 0) / 1000, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._stepping_at_ms is not None:
            return
        now = self.now_ms()
        while self._due and self._due[0][0] <= now:
            _, _, action = heapq.heappop(self._due)
            task = asyncio.get_running_loop().create_task(_run_logged(action()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._arm()


async def _run_logged(work: Awaitable[None]) -> None:
    # One broken action must not stop time for all the others.
    try:
        await work
    except Exception:
        logger.exception("an action that was due failed")
