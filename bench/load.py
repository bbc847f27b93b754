"""Two ways to put load on a port.

Open loop: requests leave on a constant schedule whatever becomes of earlier ones, and a latency counts from the
*scheduled* instant. A server that stalls for a second then shows a second's worth of late answers instead of one.

Closed loop: a fixed number of clients, each sending its next request when the last is answered. It finds the most a
server can do, and says nothing honest about latency.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.client import Client

ANSWER_SECONDS_MAX = 60.0  # after the last request, for those still under way


@dataclass(kw_only=True)
class Outcome:
    """What came back."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    # How late the driver itself was: what it adds to a latency.
    lateness: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    # In the order of the answers, where asked for.
    bodies: list[bytes] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    def require(self, status: int) -> None:
        """Fail unless every answer had this status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"not every answer was {status}: {dict(self.statuses)}; {self.bodies[-1:]!r}")

    def absorb(self, other: "Outcome") -> None:
        """Add another round's answers to these."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.lateness += other.lateness
        self.statuses += other.statuses
        self.bodies += other.bodies


async def closed_loop(
    client: Client, requests: Iterator[bytes], *, concurrency: int, seconds: float, keep_bodies: bool = False
) -> Outcome:
    """Keep `concurrency` requests under way for some seconds."""
    outcome, clock = Outcome(), time.perf_counter
    started = clock()
    deadline = started + seconds
    under_way = concurrency
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_client() -> None:
        sent = 0.0

        def send() -> None:
            nonlocal sent, under_way
            sent = clock()
            request = next(requests, None) if sent < deadline else None
            if request is not None:
                client.submit(request, done)
                return
            under_way -= 1
            if under_way == 0:
                finished.set_result(None)

        def done(status: int, body: bytes) -> None:
            outcome.latencies.append(clock() - sent)
            outcome.statuses[status] += 1
            if keep_bodies:
                outcome.bodies.append(body)
            send()

        send()

    with _without_collections():
        for _ in range(concurrency):
            one_client()
        await asyncio.wait_for(finished, seconds + ANSWER_SECONDS_MAX)
    outcome.seconds = clock() - started
    return outcome


async def open_loop(
    client: Client,
    requests: Iterator[bytes],
    *,
    rate: float,
    seconds: float,
    on_answer: Callable[[int, float, int, bytes], None] | None = None,
    keep_bodies: bool = False,
) -> Outcome:
    """Send `rate` requests a second for some seconds, then wait for the last answers.

    `on_answer` hears each answer's number, scheduled instant, status and body.
    """
    outcome, clock = Outcome(), time.perf_counter
    total = int(rate * seconds)
    left = total
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    started = clock() + 0.01

    def send(number: int, scheduled: float) -> None:
        def done(status: int, body: bytes) -> None:
            nonlocal left
            outcome.latencies.append(clock() - scheduled)
            outcome.statuses[status] += 1
            if keep_bodies:
                outcome.bodies.append(body)
            if on_answer is not None:
                on_answer(number, scheduled, status, body)
            left -= 1
            if left == 0:
                finished.set_result(None)

        outcome.lateness.append(clock() - scheduled)
        client.submit(next(requests), done)

    with _without_collections():
        number = 0
        while number < total:
            scheduled = started + number / rate
            ahead = scheduled - clock()
            if ahead > 0:
                await asyncio.sleep(ahead)
            while number < total and (scheduled := started + number / rate) <= clock():
                send(number, scheduled)
                number += 1
            await asyncio.sleep(0)
        outcome.seconds = clock() - started
        await asyncio.wait_for(finished, ANSWER_SECONDS_MAX)
    return outcome


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of all lies; zero of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def _without_collections() -> Generator[None]:
    """Keep the driver's own garbage collector out of the latencies."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
