"""A line that says how far it is: rewritten in place on a terminal, a new one now and then elsewhere."""

import sys
import time
from typing import Self

from bench.chaos.plan import Scale
from bench.chaos.watch import Sample

_WIDTH = 24
_LINE_SECONDS = 15.0


class Progress:
    """The progress of one campaign."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._live = sys.stdout.isatty()
        self._last = ("", 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print()

    def tell(self, phase: str, at: float, sample: Sample | None) -> None:
        """Show where it stands."""
        said, when = self._last
        if not self._live and phase == said and time.monotonic() - when < _LINE_SECONDS:
            return
        self._last = (phase, time.monotonic())
        print(self._line(phase, at, sample), end="\r" if self._live else "\n", flush=True)

    def _line(self, phase: str, at: float, sample: Sample | None) -> str:
        if sample is None:
            return f"{phase} …".ljust(100)
        done = min(_WIDTH, int(_WIDTH * at / self._scale.end))
        bar = "█" * done + "░" * (_WIDTH - done)
        backlog = "Postgres is down" if sample.backlog is None else f"backlog {sample.backlog}"
        return (
            f"{bar} {phase} {at:5.0f} s  accepted {sample.accepted}/{self._scale.payments}  paid {sample.paid}  "
            f"refunded {sample.refunded}/{self._scale.refunds}  waiting {sample.unsatisfied}  {backlog}"
        ).ljust(120)
