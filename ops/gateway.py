"""`payfleet gateway`: the circuit breakers and quotas that all workers share, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db.circuits import CircuitRow, get_circuits
from domain.instants import instant
from domain.quotas import Lane
from workers.roots import make_database, make_quota

if TYPE_CHECKING:
    from domain.settings import Settings
    from jobs.paystack.quota import Usage

_WIDTH = 26


def read_gateway(settings: Settings) -> dict[str, Any]:
    """Read the state of both.

    Returns:
        `circuits`, those that have ever failed; `quotas`, one for each endpoint of Paystack, None without Redis.

    Raises:
        UnavailableError: Postgres is not there.

    """
    with make_database(settings, "cli") as database, database.connection() as connection:
        circuits = [_circuit(row) for row in get_circuits(connection)]
    usages = make_quota(settings).usage()
    return {"circuits": circuits, "quotas": None if usages is None else [_quota(usage) for usage in usages]}


def show_gateway(state: dict[str, Any]) -> str:
    """Write the state as a page of text."""
    lines = ["circuits (calls stop after 5 failures in a row)"]
    lines += [_circuit_line(circuit) for circuit in state["circuits"]] or ["  none has ever failed"]
    lines += ["", "quotas (calls in the last minute)"]
    if state["quotas"] is None:
        lines.append("  not counted: Redis is not there, so each worker keeps to a part of the limits by itself")
    else:
        lines += [_quota_line(quota) for quota in state["quotas"]]
    return "\n".join(lines)


def _circuit(row: CircuitRow) -> dict[str, Any]:
    is_open = row.open_seconds is not None
    return {
        "name": row.name,
        "state": ("open" if (row.open_seconds or 0) > 0 else "half-open") if is_open else "closed",
        "failuresInARow": row.failures,
        "lastError": row.last_error,
        "openedAt": instant(row.opened_at),
        "nextProbeInSeconds": round(max(0.0, row.open_seconds or 0.0), 1) if is_open else None,
    }


def _quota(usage: Usage) -> dict[str, Any]:
    return {
        "endpoint": usage.endpoint.value,
        "limit": usage.limit,
        "used": {lane.value: usage.used[lane] for lane in Lane},
        "closedForSeconds": round(usage.closed_seconds, 1),
        "queueDrainsInSeconds": round(usage.drained_in_seconds, 1),
    }


def _circuit_line(circuit: dict[str, Any]) -> str:
    line = f"  {circuit['name']:<{_WIDTH}} {circuit['state']}"
    if circuit["state"] != "closed":
        line += f" since {circuit['openedAt']}, next probe in {circuit['nextProbeInSeconds']} s: {circuit['lastError']}"
    elif circuit["failuresInARow"]:
        line += f", {circuit['failuresInARow']} failures in a row: {circuit['lastError']}"
    return line


def _quota_line(quota: dict[str, Any]) -> str:
    by_lane = ", ".join(f"{lane} {count}" for lane, count in quota["used"].items() if count)
    line = f"  {quota['endpoint']:<{_WIDTH}} {sum(quota['used'].values())} of {quota['limit']}"
    if by_lane:
        line += f" ({by_lane})"
    if quota["closedForSeconds"]:
        line += f"; Paystack said 429, closed for {quota['closedForSeconds']} s"
    if quota["queueDrainsInSeconds"]:
        line += f"; those who wait are through in {quota['queueDrainsInSeconds']} s"
    return line
