"""What a call to Paystack can come to: a closed set. Losing an answer is `Unknown`, never a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.errors import ErrorCode

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Done(Generic[T_co]):
    """Paystack did what was asked, and this is what it says about it."""

    data: T_co


@dataclass(frozen=True, slots=True)
class Refused:
    """Paystack said no and did nothing: `code` is its machine code, where it sent one."""

    http_status: int
    message: str
    code: str | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something was sent and no usable answer came: it may have been done. Ask before sending again.

    `code` is what a client that waits for the answer is told.
    """

    reason: str
    code: ErrorCode = ErrorCode.GATEWAY_ERROR


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing reached Paystack: no connection, or our key is refused. The same call may be made again."""

    reason: str
    code: ErrorCode = ErrorCode.GATEWAY_ERROR


@dataclass(frozen=True, slots=True)
class NotNow:
    """Nothing was done, nor will be for so many seconds, whatever is asked: it says nothing about the call.

    The quota is spent, or Paystack is known not to answer. `code` is what a waiting client is told; None when it
    should just go on waiting.
    """

    retry_after_seconds: float
    reason: str
    code: ErrorCode | None = None


Answer = Done[T_co] | Refused | Unknown | NotSent | NotNow
