"""SIGTERM and SIGINT as an event: a process that sees it set finishes or gives back what it holds, and ends."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def until_signal() -> Generator[threading.Event]:
    """Set the event at the first signal; main thread only."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    yield stop
