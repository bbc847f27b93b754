"""Answers kept in Redis for a while, and forgotten when what they tell has changed. Losing Redis only costs time.

Each owner of cached answers has a token, a random word. An answer is kept under the token that stood before it was
computed, and counts only while that token stands; whoever changes what was told deletes it. So an answer computed
before a change can be written after it and is never served.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import redis
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 0.2  # longer than Redis ever takes on a healthy day; then Postgres answers
_REST_SECONDS = 5.0  # after a failure Redis is left alone for this long
_TOKEN_SECONDS = 3_600  # longer than any answer lives


class CacheKind(StrEnum):
    """What is cached; each answer belongs to a user."""

    HISTORY = "history"
    METHODS = "methods"


HISTORY_SECONDS = 120


class Stale(NamedTuple):
    """Answers that a change has made wrong."""

    kind: CacheKind
    owner: str


class Cache:
    """A cache that all processes share; without an address it keeps nothing.

    Attributes:
        hits: how many answers this object found.
        misses: how many it had to have computed, though Redis was there.

    """

    def __init__(self, url: str | None, *, methods_seconds: int = 300) -> None:
        """Take the address; nothing is connected yet."""
        self._client = (
            None
            if url is None
            else redis.Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS)
        )
        self._seconds_of = {CacheKind.HISTORY: HISTORY_SECONDS, CacheKind.METHODS: methods_seconds}
        self._rests_until = 0.0
        self._counting = threading.Lock()
        self.hits = 0
        self.misses = 0

    def read(
        self, kind: CacheKind, owner: str, question: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Answer a question about an owner from the cache, or compute the answer and keep it.

        Args:
            kind: what sort of answer.
            owner: whose changes make it wrong: a user.
            question: all that the answer depends on besides.
            compute: asks Postgres.

        """
        token_key = _token_key(kind, owner)
        answer_key = f"{token_key}:{_digest(orjson.dumps(question, option=orjson.OPT_SORT_KEYS))}"
        found = self._try(lambda client: client.mget(token_key, answer_key))
        if found is None:
            return compute()
        token, kept = found
        if token is not None and kept is not None and kept.startswith(token):
            self._count(hit=True)
            return orjson.loads(kept[len(token) :])
        self._count(hit=False)
        token = token or self._try(lambda client: _new_token(client, token_key))
        answer = compute()
        if token is not None:
            whole = token + orjson.dumps(answer)
            self._try(lambda client: client.set(answer_key, whole, ex=self._seconds_of[kind]))
        return answer

    def forget(self, stale: Iterable[Stale]) -> None:
        """Let no answer stand that a committed change has made wrong.

        If Redis cannot be reached, or this process dies first, the answers stand until their time is over.
        """
        keys = [_token_key(kind, owner) for kind, owner in stale]
        self._try(lambda client: client.unlink(*keys))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _try(self, action: Callable[[redis.Redis], Any]) -> Any:
        """Do something at Redis; None when it is not there."""
        if self._client is None or time.monotonic() < self._rests_until:
            return None
        try:
            return action(self._client)
        except redis.RedisError as error:
            self._rests_until = time.monotonic() + _REST_SECONDS
            _log.warning("cache.unavailable", error=type(error).__name__)
            return None

    def _count(self, *, hit: bool) -> None:
        with self._counting:
            self.hits += hit
            self.misses += not hit


def _new_token(client: redis.Redis, key: str) -> Any:
    """Give an owner a token, or take the one that somebody else gave it meanwhile."""
    token = secrets.token_hex(8).encode()
    return token if client.set(key, token, nx=True, ex=_TOKEN_SECONDS) else client.get(key)


def _token_key(kind: CacheKind, owner: str) -> str:
    return f"payfleet:{kind}:{_digest(owner.encode())}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
