"""CPU seconds by part of the system, read from the process table before and after a load.

On a busy machine wall time says little; what a unit of work costs in CPU stays nearly the same. Process trees are read
with the time of children that have ended. Postgres' backends are told apart by whom they serve; what its background
processes do (WAL writer, checkpointer, vacuum) is not ours alone when the server is shared, and the same is true of
RabbitMQ: `elsewhere` shows how much of the machine went to others meanwhile.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil
import psycopg

DRIVER_APPLICATION = "payfleet-bench"  # the driver's own sessions, whose cost is not the service's

Spent = dict[str, float]

_ACTIVITY = "SELECT pid, datname = current_database(), application_name FROM pg_stat_activity"


class CpuMeter:
    """Reads the CPU time of named process trees, of Postgres by client, and of RabbitMQ."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._rabbit = _rabbitmq()

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(self._url, autocommit=True, application_name=DRIVER_APPLICATION)
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._connection.close()

    def read(self, pids: Mapping[str, int]) -> Spent:
        """CPU seconds so far of each part. Subtract two readings with `spent`."""
        machine = psutil.cpu_times()
        busy = sum(machine[:8]) - machine.idle - machine.iowait  # the first eight do not overlap
        reading = {name: _tree(pid) for name, pid in pids.items()}
        reading["driver"] = _one(os.getpid())
        reading |= self._postgres()
        reading["rabbitmq"] = sum(_one(pid) for pid in self._rabbit)
        reading["elsewhere"] = busy - sum(reading.values())
        return reading

    def _postgres(self) -> Spent:
        parts: Spent = {}
        postmaster: int | None = None
        for pid, ours, application in self._connection.execute(_ACTIVITY).fetchall():
            seconds = _one(pid)
            if ours is None:
                name = "postgres background"
            elif not ours:
                continue  # shows up elsewhere
            else:
                name = f"postgres {application.removeprefix('payfleet-')}"
            parts[name] = parts.get(name, 0.0) + seconds
            with suppress(psutil.Error):
                postmaster = postmaster or psutil.Process(pid).ppid()
        if postmaster is not None:  # with the backends that have ended, such as autovacuum's workers
            parts["postgres background"] = parts.get("postgres background", 0.0) + _one(postmaster, ended=True)
        return parts


def spent(before: Spent, after: Spent) -> Spent:
    """What each part used between two readings."""
    return {name: after[name] - before.get(name, 0.0) for name in after}


def add(total: Spent, more: Spent) -> None:
    """Add one interval to another."""
    for name, seconds in more.items():
        total[name] = total.get(name, 0.0) + seconds


def _one(pid: int, *, ended: bool = False) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    own = times.user + times.system
    return own + times.children_user + times.children_system if ended else own


def _tree(pid: int) -> float:
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0.0
    return sum(_one(process.pid, ended=True) for process in processes)


def _rabbitmq() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"].startswith("beam") and "rabbit" in " ".join(process.info["cmdline"] or [])
    ]
