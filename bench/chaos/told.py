"""The ledger of what clients were told: every request with every answer it got. What was promised here must be true."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

NO_ANSWER = 0


@dataclass(slots=True)
class Answer:
    """One answer, or that none came; `id` is what it named, `code` the error's."""

    at: float
    seconds: float
    status: int
    id: str | None = None
    code: str | None = None


@dataclass(slots=True, kw_only=True)
class Request:
    """One intention of a client, sent under one Idempotency-Key until it was answered.

    `subject` is the order of a payment, or the payment of a refund. `statuses` are those that polling showed, in turn.
    """

    kind: str
    key: str
    subject: str
    amount: int
    currency: str
    answers: list[Answer] = field(default_factory=list[Answer])
    statuses: list[str] = field(default_factory=list[str])

    @property
    def accepted(self) -> bool:
        """Whether any answer was a 2xx: from then on it is a promise."""
        return any(200 <= answer.status < 300 for answer in self.answers)

    @property
    def ids(self) -> set[str]:
        """What the 2xx answers named; one thing, if all is well."""
        return {answer.id for answer in self.answers if answer.id is not None and 200 <= answer.status < 300}

    def show(self, status: str) -> None:
        """Note a status that polling showed."""
        if not self.statuses or self.statuses[-1] != status:
            self.statuses.append(status)


@dataclass(slots=True)
class Told:
    """All of it. `forged` are the answers to webhooks with a bad signature."""

    requests: list[Request] = field(default_factory=list[Request])
    forged: list[Answer] = field(default_factory=list[Answer])

    def of_kind(self, kind: str) -> Iterator[Request]:
        return (request for request in self.requests if request.kind == kind)

    @property
    def statuses(self) -> Counter[int]:
        """How often each HTTP status came; 0 where no answer came."""
        return Counter(answer.status for request in self.requests for answer in request.answers)

    def write(self, path: Path) -> None:
        """Keep the ledger, one request a line."""
        with path.open("w", encoding="utf-8") as file:
            for request in self.requests:
                file.write(json.dumps(asdict(request)) + "\n")
