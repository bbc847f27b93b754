"""Calls to the outside, side by side on the process's gateway threads, their results in the order they arrive."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

GATHER_SECONDS = 0.025  # results this close together are settled in one transaction


class GatewayThreads:
    """A fixed number of threads that make calls.

    A batch first takes a seat for each of its calls, so that they run together and their results can be settled
    together. A slow call keeps only its own seat; other batches go on beside it.
    """

    def __init__(self, threads: int) -> None:
        """Prepare the threads; they start when first needed."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="gateway")
        self._threads = threads
        self._free = threads
        self._changed = threading.Condition()
        self._entrance = threading.Lock()

    def close(self) -> None:
        """Wait for the calls under way, then stop."""
        self._executor.shutdown(wait=True)

    @contextmanager
    def seats(self, count: int) -> Generator[Seats]:
        """Wait for `count` free seats (at most all there are) and keep them for one batch.

        To be entered before jobs are claimed, so that their leases do not run down in a queue for threads.
        """
        taken = min(count, self._threads)
        with (
            self._entrance,
            self._changed,
        ):  # one at a time: a large batch is not overtaken for ever by small ones
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        seats = Seats(self, taken)
        try:
            yield seats
        finally:
            seats.give_back()

    def _release(self, count: int) -> None:
        with self._changed:
            self._free += count
            self._changed.notify()

    def _submit(self, work: Callable[[], None]) -> None:
        self._executor.submit(work)


class Seats:
    """The seats of one batch."""

    def __init__(self, threads: GatewayThreads, count: int) -> None:
        """Hold `count` seats of `threads`."""
        self._threads = threads
        self.left = count

    def give_back(self) -> None:
        """Give back the seats that no call has taken."""
        unused, self.left = self.left, 0
        self._threads._release(unused)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - two halves of one thing

    def as_they_arrive(
        self, call: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[list[tuple[Item, Result | Exception]]]:
        """Run `call` for each item, side by side.

        Yields:
            What has come in, in groups: the next result and whatever else arrives within some tens of milliseconds.
            A call that raises yields its exception, beside the others' results.

        """
        arrived: queue.SimpleQueue[tuple[Item, Result | Exception]] = queue.SimpleQueue()
        for item in items:
            self._start(call, item, arrived)
        self.give_back()  # of jobs that are done or held elsewhere
        missing = len(items)
        while missing:
            group = [arrived.get()]
            deadline = time.monotonic() + GATHER_SECONDS
            while len(group) < missing and (left := deadline - time.monotonic()) > 0:
                try:
                    group.append(arrived.get(timeout=left))
                except queue.Empty:
                    break
            missing -= len(group)
            yield group

    def _start(
        self,
        call: Callable[[Item], Result],
        item: Item,
        arrived: queue.SimpleQueue[tuple[Item, Result | Exception]],
    ) -> None:
        seated = self.left > 0
        self.left -= seated

        def run() -> None:
            try:
                result: Result | Exception = call(item)
            except Exception as error:  # noqa: BLE001 - one call's defect must not take its batch along
                result = error
            if seated:
                self._threads._release(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - two halves of one thing
            arrived.put((item, result))

        self._threads._submit(run)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - two halves of one thing
