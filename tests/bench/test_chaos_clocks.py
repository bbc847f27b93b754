"""The wall clock of one process can be set while it runs, and its monotonic clock stays as it is."""

import os
import subprocess
import sys
from pathlib import Path

from bench.chaos.clocks import SteppingClocks

# Prints both clocks whenever it is given a line.
_CHILD = """
import sys, time
for _ in sys.stdin:
    print(time.time(), time.monotonic(), flush=True)
"""


def test_a_step_moves_the_wall_clock_of_that_process_alone(tmp_path: Path) -> None:
    clocks = SteppingClocks(tmp_path)
    if clocks.missing:
        # The campaign says so in its report, and goes on without the row.
        assert "compiler" in clocks.missing or "failed" in clocks.missing
        return
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        env={**os.environ, **clocks.environment("child")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        shown: list[tuple[float, float]] = []
        for step in (0, 3600, -3600, 0):
            clocks.step("child", step)
            child.stdin.write("\n")
            child.stdin.flush()
            wall, monotonic = child.stdout.readline().split()
            shown.append((float(wall) - step, float(monotonic)))
        child.stdin.close()
    walls, monotonics = zip(*shown, strict=True)
    assert max(walls) - min(walls) < 60
    assert max(monotonics) - min(monotonics) < 60
