"""The command line: `python -m bench [campaign …] [--quick] [--seconds N] [--profile]`; without a name, all of them."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import psutil

from bench import accept, burst, gateway, history, lifecycle, read, visible
from bench.ledger import Ledger
from bench.measure import Effort
from bench.processes import Fleet, fleet_on
from bench.report import Report, write
from bench.services import Stage, fresh_stage
from tests.services import NotFoundError

CAMPAIGNS: dict[str, Callable[[Stage, Fleet, Effort], Awaitable[Report]]] = {
    "accept": accept.measure,
    "lifecycle": lifecycle.measure,
    "visible": visible.measure,
    "read": read.measure,
    "history": history.measure,
    "gateway": gateway.measure,
    "burst": burst.measure,
}
_BUSY_SHARE = 0.1


def main() -> int:
    """Run the campaigns and print what they found; 0 when they ran, whatever they found."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("campaigns", nargs="*", choices=[[], *CAMPAIGNS], metavar="campaign", help=", ".join(CAMPAIGNS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the load: does it run at all?")
    parser.add_argument("--seconds", type=float, default=None, help="one leg of one round (default: 4)")
    parser.add_argument("--rounds", type=int, default=None, help="rounds of each campaign (default: 5)")
    parser.add_argument("--payments", type=int, default=None, help="backlog of the lifecycle (default: 3000)")
    parser.add_argument("--profile", action="store_true", help="run py-spy beside the lifecycle's backlog")
    options = parser.parse_args()
    effort = Effort(
        seconds=options.seconds or (1.0 if options.quick else 4.0),
        rounds=options.rounds or (2 if options.quick else 5),
        connections=32,
        payments=options.payments or (400 if options.quick else 3_000),
        profile=options.profile,
    )
    # Ending by a signal unwinds like any other end: every process is stopped, database and virtual host are dropped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    busy = psutil.cpu_percent(interval=1.0) / 100
    if busy > _BUSY_SHARE:
        print(f"This machine is {busy:.0%} busy before anything is measured: trust ratios and CPU, not rates.")
    try:
        with tempfile.TemporaryDirectory(prefix="payfleet-bench-", ignore_cleanup_errors=True) as folder:
            for name in options.campaigns or CAMPAIGNS:
                asyncio.run(_campaign(name, Path(folder), effort, busy))
    except NotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _campaign(name: str, folder: Path, effort: Effort, busy: float) -> None:
    with fresh_stage(folder) as stage, fleet_on(stage) as fleet:
        report = await CAMPAIGNS[name](stage, fleet, effort)
        async with Ledger(stage.database_url) as ledger:
            versions = {"postgres": await ledger.server_version()}
    print(report.show(), flush=True)
    write(report, versions=versions, options={**asdict(effort), "busy_before": round(busy, 2)})


if __name__ == "__main__":
    sys.exit(main())
