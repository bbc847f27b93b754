"""Waiting for something to become true, with a deadline: the only way a test may wait."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_pause = threading.Event()


def eventually(look: Callable[[], T], *, seconds: float = 15.0) -> T:
    """Return the first truthy thing that `look` sees."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "did not come true in time"
        _pause.wait(0.01)
    return seen
