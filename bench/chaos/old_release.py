"""A worker of a release that does not know the newest kind of job yet, as there is one during every deploy."""

import sys

from domain.jobs import JobKind
from workers import actors

UNKNOWN = JobKind.CHARGE_PAYMENT_METHOD


def main() -> None:
    """Run the worker's own command without one of its actors."""
    del actors.USE_CASES[UNKNOWN]
    from ops.cli import main as run  # noqa: PLC0415 - after the release has lost its memory

    sys.argv = ["payfleet", "worker"]
    run()


if __name__ == "__main__":
    main()
