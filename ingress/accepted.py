"""The answer to a write: 202 with what was accepted, or its result when the client would wait and it comes in time."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ingress.envelope import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from flask import Response

    from domain.errors import RefusedError
    from ingress.waiting import Awaited, WaitingRoom

T = TypeVar("T")

RETRY_AFTER_SECONDS = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Generic[T]):
    """Something that was committed with the job that will serve it.

    Attributes:
        resource: as it stands now.
        subject: its id.
        location: the path at which it can be polled.
        awaited: when it has come as far as its client waits for.
        render: how it is shown.
        refusal: the error that a client gets instead who waited for a result that is none.
        replayed: whether an earlier request with the same Idempotency-Key made it.

    """

    resource: T
    subject: UUID
    location: str
    awaited: Awaited[T]
    render: Callable[[T], Mapping[str, Any]]
    refusal: Callable[[T], RefusedError | None] = lambda _: None
    replayed: bool = False

    def answer(self, room: WaitingRoom, seconds: int, ready_status: HTTPStatus = HTTPStatus.CREATED) -> Response:
        """Answer 202 at once, or `ready_status` with the result after at most `seconds`."""
        headers = {"Location": self.location}
        if self.replayed:
            headers["Idempotency-Replayed"] = "true"
        if seconds:
            headers["Preference-Applied"] = f"wait={seconds}"
            is_ready = self.awaited.is_ready(self.resource)
            result = self.resource if is_ready else room.wait(self.awaited, self.subject, seconds)
            if result is not None:
                if (refusal := self.refusal(result)) is not None:
                    raise refusal
                return answer(self.render(result), ready_status, headers)
        headers["Retry-After"] = RETRY_AFTER_SECONDS
        return answer(self.render(self.resource), HTTPStatus.ACCEPTED, headers)
