"""The command line: `python -m bench.chaos [--quick] [--seed N]`, or `make chaos [QUICK=1] [SEED=N]`."""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.chaos.campaign import Campaign, run_campaign
from bench.chaos.plan import FULL, QUICK, Row, Scale
from bench.chaos.progress import Progress
from bench.chaos.report import document, show, write
from tests.services import NotFoundError


def main() -> int:
    """Run a campaign, write its report; 0 when the judge found nothing, 1 when it did or the campaign could not run."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes instead of 25: does it hold at all?")
    parser.add_argument("--seed", type=int, default=None, help="replay the plan of this seed (default: a new one)")
    parser.add_argument("--payments", type=int, default=None, help="another number of payments")
    parser.add_argument("--refunds", type=int, default=None, help="another number of refunds")
    parser.add_argument("--rows", default="", help="only these rows of the matrix, such as 4,5,16")
    parser.add_argument("--keep", type=Path, default=None, help="keep the processes' logs and data in this folder")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    scale = replace(
        scale,
        payments=options.payments or scale.payments,
        refunds=scale.refunds if options.refunds is None else options.refunds,
    )
    if options.rows:
        scale = _only(scale, {Row(int(row)) for row in options.rows.split(",")})
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"chaos: {scale.name}, seed {seed}, {scale.payments} payments, {scale.refunds} refunds", flush=True)
    # Ending by a signal unwinds like any other end: every server and process is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        campaign = _run(scale, seed, options.keep)
    except NotFoundError as error:
        print(f"chaos: the campaign needs servers of its own, and {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    told = document(campaign)
    print(show(told))
    print(f"report: {write(campaign, told)}")
    return 0 if campaign.passed else 1


def _run(scale: Scale, seed: int, keep: Path | None) -> Campaign:
    with tempfile.TemporaryDirectory(prefix="payfleet-chaos-", ignore_cleanup_errors=True) as folder:
        state = keep or Path(folder)
        state.mkdir(parents=True, exist_ok=True)
        # Where root runs this, Postgres does not run as root, and has to get in.
        state.chmod(0o711)
        with Progress(scale) as progress:
            return asyncio.run(run_campaign(scale, seed, state, report=progress.tell))


def _only(scale: Scale, rows: set[Row]) -> Scale:
    return replace(scale, amounts={row: count if row in rows else 0 for row, count in scale.amounts.items()})


if __name__ == "__main__":
    sys.exit(main())
