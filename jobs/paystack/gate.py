"""What every call to Paystack passes: the circuit breaker and the quota before it, what they learn from it after."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from domain.errors import ErrorCode
from jobs.circuit import Open
from jobs.paystack.answers import NotNow, NotSent, Unknown
from jobs.paystack.transport import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from domain.quotas import Endpoint, Lane
    from jobs.circuit import Circuit
    from jobs.paystack.quota import Quota

PAYSTACK = "paystack"
"""The circuit's name."""

_RETRY_AFTER_SECONDS_DEFAULT = 10.0
_RETRY_AFTER_SECONDS_MAX = 120.0  # the windows last 60 s; anything longer is a misreading


class Gate:
    """The gate of one Paystack account; safe to share between threads."""

    def __init__(self, circuit: Circuit, quota: Quota) -> None:
        """Take what stands in the way."""
        self._circuit = circuit
        self._quota = quota

    def pass_through(
        self, endpoint: Endpoint, lane: Lane, exchange: Callable[[], Response | NotSent | Unknown]
    ) -> Response | NotSent | Unknown | NotNow:
        """Make one call, or say when to come again."""
        shut = self.seconds_shut()
        if shut > 0:
            return _shut(shut)
        wait = self._quota.take(endpoint, lane)
        if wait > 0:
            return NotNow(wait, "Paystack's rate limit is reached")
        leave = self._circuit.admit()  # last, since a probe that is granted must be made
        if isinstance(leave, Open):
            return _shut(leave.seconds)
        error: str | None = "the call raised"
        try:
            result = exchange()
            error = _failure_of(result)
        finally:
            if error is None:
                self._circuit.worked(leave)
            else:
                self._circuit.failed(leave, error)
        if isinstance(result, Response) and result.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._quota.close(endpoint, retry_after(result.headers), _limit_of(result.headers))
        return result

    def seconds_shut(self) -> float:
        """How long no call at all will pass; 0 when one might."""
        return self._circuit.seconds_open()


def retry_after(headers: Mapping[str, str]) -> float:
    """Read from a 429 when to come again, in seconds."""
    for name in ("retry-after", "x-ratelimit-reset"):
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        if 0 <= seconds <= _RETRY_AFTER_SECONDS_MAX:
            return seconds
    return _RETRY_AFTER_SECONDS_DEFAULT


def _shut(seconds: float) -> NotNow:
    return NotNow(seconds, "Paystack does not answer", ErrorCode.GATEWAY_ERROR)


def _limit_of(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-ratelimit-limit", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _failure_of(result: Response | NotSent | Unknown) -> str | None:
    """Say why a call speaks against Paystack as a whole, or against our key, and not just against what was asked."""
    match result:
        case NotSent(reason) | Unknown(reason):
            return reason
        case Response(status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.UNAUTHORIZED:
            return f"HTTP {status}"
        case Response(status, _, body) if not isinstance(body, dict):
            return f"HTTP {status} without a JSON object"
        case Response():
            return None
