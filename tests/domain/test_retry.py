"""What becomes of a job after a failed run, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.retry import FAILURES_MAX, Decision, Failure, FailureKind, Park, Postpone, RetryIn, decide

TRANSIENT, UNAVAILABLE, PERMANENT = FailureKind.TRANSIENT, FailureKind.UNAVAILABLE, FailureKind.PERMANENT


@pytest.mark.parametrize(
    ("kind", "retry_after", "failures", "jitter", "decision"),
    [
        (TRANSIENT, None, 0, 0.0, RetryIn(1.0)),
        (TRANSIENT, None, 0, 0.5, RetryIn(1.25)),
        (TRANSIENT, None, 1, 0.0, RetryIn(2.0)),
        (TRANSIENT, None, 2, 0.0, RetryIn(4.0)),
        (TRANSIENT, None, 3, 0.0, RetryIn(8.0)),
        (TRANSIENT, None, 9, 0.0, RetryIn(512.0)),
        (TRANSIENT, None, 10, 0.0, RetryIn(600.0)),
        (TRANSIENT, None, 12, 0.0, RetryIn(600.0)),
        (TRANSIENT, None, 13, 0.0, Park()),
        (TRANSIENT, None, 99, 0.0, Park()),
        (TRANSIENT, 30.0, 0, 0.0, RetryIn(30.0)),
        (TRANSIENT, 0.5, 3, 0.0, RetryIn(8.0)),
        (UNAVAILABLE, None, 0, 0.0, Postpone(1.0)),
        (UNAVAILABLE, 0.0, 0, 0.0, Postpone(1.0)),
        (UNAVAILABLE, 60.0, 0, 0.0, Postpone(60.0)),
        (UNAVAILABLE, 60.0, 0, 0.5, Postpone(60.5)),
        (UNAVAILABLE, 60.0, 99, 0.0, Postpone(60.0)),
        (PERMANENT, None, 0, 0.0, Park()),
        (PERMANENT, 5.0, 0, 0.9, Park()),
    ],
)
def test_the_decision(
    kind: FailureKind, retry_after: float | None, failures: int, jitter: float, decision: Decision
) -> None:
    assert decide(Failure(kind, "it did not work", retry_after), failures, jitter) == decision


JITTERS = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(st.integers(min_value=0, max_value=FAILURES_MAX - 2), JITTERS)
def test_a_transient_failure_is_retried_within_half_again_its_delay(failures: int, jitter: float) -> None:
    decision = decide(Failure(TRANSIENT, "x"), failures, jitter)
    assert isinstance(decision, RetryIn)
    delay = min(2.0**failures, 600)
    assert delay <= decision.seconds < delay * 1.5 or decision.seconds == pytest.approx(delay * 1.5)


@given(st.integers(min_value=0, max_value=10**6), JITTERS, st.floats(min_value=0, max_value=1e4))
def test_being_postponed_never_ends_in_parking(failures: int, jitter: float, seconds: float) -> None:
    decision = decide(Failure(UNAVAILABLE, "x", seconds), failures, jitter)
    assert isinstance(decision, Postpone)
    assert decision.seconds >= max(seconds, 1)


def test_a_job_is_tried_for_about_an_hour_before_it_is_parked() -> None:
    decisions = [decide(Failure(TRANSIENT, "x"), failures, 0.0) for failures in range(FAILURES_MAX)]
    waits = [decision.seconds for decision in decisions if isinstance(decision, RetryIn)]
    assert len(waits) == FAILURES_MAX - 1
    assert isinstance(decisions[-1], Park)
    assert 2400 <= sum(waits) <= 4800
