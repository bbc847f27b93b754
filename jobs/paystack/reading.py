"""Reading much of Paystack's books in one go: patiently, since reading changes nothing, and to the end."""

from __future__ import annotations

from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, TypeVar, assert_never

from domain.errors import ErrorCode, UnavailableError
from jobs.paystack.answers import Done, NotNow, NotSent, Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobs.paystack.answers import Answer

T = TypeVar("T")
_TRIES = 5


def read(call: Callable[[], Answer[T]], pause: Callable[[float], object]) -> T | None:
    """Ask until an answer comes; None where Paystack says that there is no such thing.

    Raises:
        UnavailableError: there was no answer after some tries, or Paystack refuses to tell.

    """
    for tries in count(1):
        answer = call()
        match answer:
            case Done(data):
                return data
            case Refused(status, reason) if status == HTTPStatus.NOT_FOUND or "not found" in reason.lower():
                return None
            case Refused(_, reason) | NotSent(reason, ErrorCode.PAYSTACK_API_ERROR):
                raise UnavailableError(f"asking Paystack: {reason}")
            case NotNow(seconds, reason):
                pass
            case Unknown(reason) | NotSent(reason):
                seconds = 2.0 ** (tries - 1)
            case _:
                assert_never(answer)
        if tries == _TRIES:
            raise UnavailableError(f"asking Paystack: {reason}")
        pause(seconds)
    raise AssertionError("there is always another try")


def read_pages(fetch: Callable[[int], Answer[list[T]]], pause: Callable[[float], object]) -> Iterator[list[T]]:
    """Read a list, page by page, until a page is empty.

    Raises:
        UnavailableError: as `read`; also when a page comes twice, since then the end is never seen.

    """
    before: list[T] | None = None
    for number in count(1):
        page = read(lambda number=number: fetch(number), pause)
        if page is None:
            raise UnavailableError("Paystack has no such list")
        if not page:
            return
        if page == before:
            raise UnavailableError("Paystack's list repeats itself")
        yield page
        before = page
