"""Where a process's time goes: py-spy beside it, the samples summed up by function.

py-spy is no dependency of the project; install it where the campaign runs. It needs the right to look into other
processes of the same user (root, or kernel.yama.ptrace_scope=0).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.report import RESULTS

_RATE = "200"
_SHOWN = 40
_ATTACH_SECONDS = 3.0


@contextmanager
def profiled(pids: Mapping[str, int]) -> Generator[None]:
    """Sample the threads that hold their interpreter, and write a summary of each process to the results.

    Without the restriction, threads that wait are counted as running. What remains unseen is the kernel's share.
    """
    RESULTS.mkdir(exist_ok=True)
    with ExitStack() as stack:
        for name, pid in pids.items():
            stack.enter_context(_sampled(name, _busiest(pid)))
        time.sleep(_ATTACH_SECONDS)
        yield


@contextmanager
def _sampled(name: str, pid: int) -> Generator[None]:
    tool = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    raw = RESULTS / f"profile-{name}.raw"
    command = [tool, "record", "--gil", "--rate", _RATE, "--duration", "unlimited", "--format", "raw"]
    process = subprocess.Popen(
        [*command, "--output", str(raw), "--pid", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.wait(60)
        if not raw.exists():
            raise RuntimeError(f"py-spy could not look into {name}")
        summary = summarize(raw.read_text(encoding="utf-8").splitlines())
        raw.with_suffix(".txt").write_text(summary, encoding="utf-8")
        print(f"profile of {name}: {raw.with_suffix('.txt')}")


def summarize(stacks: list[str]) -> str:
    """Count each function once a sample in which it is on the stack, and once where it is on top."""
    inside: Counter[str] = Counter()
    on_top: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        total += int(count)
        on_top[frames[-1]] += int(count)
        for frame in set(frames):
            inside[frame] += int(count)
    text = [f"{total} samples"]
    for title, counter in (("in it or in what it calls", inside), ("in it alone", on_top)):
        text.append(f"\n{title}:")
        text += [f"{count / max(1, total):7.1%}  {frame}" for frame, count in counter.most_common(_SHOWN)]
    return "\n".join(text) + "\n"


def _busiest(pid: int) -> int:
    """The process of a tree that does the work: a server's child rather than its parent."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return max(tree, key=lambda process: sum(process.cpu_times()[:2])).pid
