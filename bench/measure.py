"""Several loads side by side in time: short rounds of each in turn, so that the machine's drift meets all alike."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bench.cpu import CpuMeter, Spent, add, spent
from bench.load import Outcome
from bench.processes import Fleet

_SETTLE_SECONDS = 0.2  # for what a leg leaves behind, such as Postgres' WAL writer


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much a campaign does."""

    seconds: float
    """One leg of one round."""
    rounds: int
    connections: int
    payments: int
    """The backlog of the lifecycle campaign."""
    profile: bool


@dataclass(kw_only=True)
class Leg:
    """One of the loads that are compared, and what it has shown so far."""

    name: str
    run: Callable[[], Awaitable[Outcome]]
    outcome: Outcome = field(default_factory=Outcome)
    cpu: Spent = field(default_factory=dict)

    def cpu_per_answer(self, part: str) -> float:
        """Milliseconds of CPU that this part used for each answer."""
        seconds = sum(value for name, value in self.cpu.items() if name == part or name.startswith(f"{part} "))
        return 1000 * seconds / max(1, self.outcome.answered)


async def interleave(legs: list[Leg], rounds: int, meter: CpuMeter, fleet: Fleet) -> Mapping[str, Leg]:
    """Run A B C, A B C, …"""
    for _ in range(rounds):
        for leg in legs:
            before = meter.read(fleet.pids)
            outcome = await leg.run()
            add(leg.cpu, spent(before, meter.read(fleet.pids)))
            leg.outcome.absorb(outcome)
            await asyncio.sleep(_SETTLE_SECONDS)
        fleet.check()
    return {leg.name: leg for leg in legs}
