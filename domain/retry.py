"""What to do with a job that did not finish: decided as a value, by one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

FAILURES_MAX = 14
"""A job is parked at this many failures: with the delays below that is about an hour of trying."""

_DELAY_SECONDS_MAX = 600.0
_POSTPONE_SECONDS_MIN = 1.0


class FailureKind(StrEnum):
    """Why a run of a job did not finish."""

    TRANSIENT = "transient"
    """Something outside did not answer as it should: the same run may succeed later."""
    UNAVAILABLE = "unavailable"
    """It could not even be tried (quota spent, gateway known to be down): nothing was learned about the job."""
    PERMANENT = "permanent"
    """It will fail the same way every time: a defect of ours, for a person to look at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One run that did not finish: its kind, a text that carries no secret, and the earliest useful time to retry."""

    kind: FailureKind
    error: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Run it again after this many seconds; one more failure is counted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Postpone:
    """Run it again after this many seconds; nothing is counted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Park:
    """Stop trying: the job is dead until a person retries or discards it."""


Decision = RetryIn | Postpone | Park


def decide(failure: Failure, failures: int, jitter: float) -> Decision:
    """Decide what becomes of a job after a failed run.

    Args:
        failure: what went wrong this time.
        failures: how many runs had failed before this one.
        jitter: a number in [0, 1) from the caller's randomness; it spreads retries over half their delay, and what was
            postponed over a second.

    Returns:
        1, 2, 4, 8 … seconds (at most ten minutes) for a transient failure, until `FAILURES_MAX` of them.

    """
    match failure.kind:
        case FailureKind.PERMANENT:
            return Park()
        case FailureKind.UNAVAILABLE:
            # Whoever told the instant has spread them already.
            return Postpone(max(failure.retry_after_seconds or 0.0, _POSTPONE_SECONDS_MIN) + jitter)
        case FailureKind.TRANSIENT:
            if failures + 1 >= FAILURES_MAX:
                return Park()
            backoff = min(2.0**failures, _DELAY_SECONDS_MAX)
            return RetryIn(max(backoff * (1 + jitter / 2), failure.retry_after_seconds or 0.0))
        case _:
            assert_never(failure.kind)
