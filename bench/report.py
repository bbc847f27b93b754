"""What a campaign found: figures with what they mean, printed as a table and kept as JSON."""

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.cpu import Spent
from bench.load import Outcome, percentile

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure; a figure with a target says whether it was met."""

    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


@dataclass(kw_only=True)
class Report:
    """One campaign's figures."""

    campaign: str
    title: str
    lines: list[Line] = field(default_factory=list)

    def note(self, name: str, value: float, unit: str) -> None:
        self.lines.append(Line(name=name, value=value, unit=unit))

    def at_least(self, name: str, value: float, unit: str, target: float) -> None:
        self.lines.append(Line(name=name, value=value, unit=unit, target=f">= {target:g}", met=value >= target))

    def at_most(self, name: str, value: float, unit: str, target: float) -> None:
        self.lines.append(Line(name=name, value=value, unit=unit, target=f"<= {target:g}", met=value <= target))

    def latencies(self, name: str, outcome: Outcome) -> None:
        """Median and tail of an open loop, and how much of it the driver's own lateness may be."""
        self.note(f"{name}, p50", 1000 * percentile(outcome.latencies, 0.50), "ms")
        self.note(f"{name}, p99", 1000 * percentile(outcome.latencies, 0.99), "ms")
        self.note(f"{name}, driver late, p99", 1000 * percentile(outcome.lateness, 0.99), "ms")

    def cpu(self, name: str, spent: Spent, units: int, parts: Mapping[str, str]) -> None:
        """What one unit of work cost in each part, largest first."""
        costs = {part: 1000 * seconds / units for part, seconds in spent.items()}
        for part, cost in sorted(costs.items(), key=lambda item: -item[1]):
            if part in parts or cost >= 0.005:
                self.note(f"{name}, {parts.get(part, part)}", cost, "ms CPU")

    def show(self) -> str:
        """The figures as a table for a terminal."""
        width = max(len(line.name) for line in self.lines)
        rows = [f"\n{self.title}", "-" * len(self.title)]
        for line in self.lines:
            verdict = "" if line.met is None else f"  {line.target:>9}  {'met' if line.met else 'MISSED'}"
            rows.append(f"{line.name:<{width}}  {_figure(line.value):>9} {line.unit:<7}{verdict}")
        return "\n".join(rows)


def write(report: Report, *, versions: Mapping[str, str], options: Mapping[str, object]) -> Path:
    """Keep the figures of a campaign in latest.json, beside the other campaigns' newest ones."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "latest.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    document[report.campaign] = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), **versions},
        "options": dict(options),
        "lines": [asdict(line) for line in report.lines],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
