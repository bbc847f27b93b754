"""Webhooks: signed, delivered, tried again by Paystack's schedule, and made to misbehave on demand."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from functools import partial

import aiohttp

from sandbox.book import Attempt, Book, Delivery
from sandbox.clock import Clock
from sandbox.settings import Schedule, Settings
from sandbox.wire import Json, dump

TIMEOUT_SECONDS = 30
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
# Waits between one try and the next. Live: four tries three minutes apart, then hourly for 72 hours.
# Test: a first try, then hourly for 10 hours.
_WAITS_MS: dict[Schedule, tuple[int, ...]] = {
    "live": (3 * _MINUTE_MS,) * 3 + (_HOUR_MS,) * 72,
    "test": (_HOUR_MS,) * 10,
}
# Enough of an answer to let the connection be used again; nobody reads more.
_ANSWER_BYTES_MAX = 65_536


def sign(secret_key: str, body: bytes) -> str:
    """Return the lower-case hex HMAC-SHA512 of the raw body."""
    return hmac.new(secret_key.encode(), body, hashlib.sha512).hexdigest()


class Webhooks:
    """Sends events and keeps the record of every try in the book."""

    def __init__(
        self,
        *,
        clock: Clock,
        book: Book,
        settings: Callable[[], Settings],
        secret_key: str,
        seed: int | None,
    ) -> None:
        """Take a function for the settings, since they change while deliveries wait."""
        self._clock = clock
        self._book = book
        self._settings = settings
        self._secret_key = secret_key
        # A source of its own, so that asking for duplicates does not change the ids handed out.
        self._random = random.Random(None if seed is None else seed + 1)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the connection pool, and take up what a loaded snapshot left pending."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            headers={"User-Agent": "Paystack-sandbox", "Content-Type": "application/json"},
        )
        for delivery in self._book.deliveries.values():
            if delivery.status == "pending":
                # Without a time it was under way when the snapshot was written: nobody knows if it arrived.
                at_ms = self._clock.now_ms() if delivery.next_at_ms is None else delivery.next_at_ms
                self._schedule(delivery, at_ms)

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    def emit(self, event: str, data: Json, *, reference: str | None) -> list[Delivery]:
        """Queue an event and the copies faults ask for; without a webhook URL nothing is sent."""
        settings = self._settings()
        if settings.webhook_url is None:
            return []
        body = dump({"event": event, "data": data}).decode()
        faults = settings.webhook_faults
        copies = faults.copies if self._random.random() < faults.duplicate else 0
        first_id: str | None = None
        made: list[Delivery] = []
        for _ in range(1 + copies):
            delivery = Delivery(
                self._book.new_code("whk_", 16),
                event,
                reference,
                settings.webhook_url,
                body,
                copy_of=first_id,
            )
            first_id = first_id or delivery.id
            self._book.deliveries[delivery.id] = delivery
            made.append(delivery)
            if self._random.random() < faults.drop:
                delivery.status = "dropped"
                continue
            wait_ms = faults.delay_ms
            if self._random.random() < faults.reorder:
                wait_ms += self._random.randint(1, max(1, faults.reorder_max_ms))
            self._schedule(delivery, self._clock.now_ms() + wait_ms)
        self._book.dirty = True
        return made

    def resend(self, delivery: Delivery) -> None:
        """Deliver once more now, whatever became of it, and start its schedule again."""
        delivery.status = "pending"
        delivery.tries = 0
        self._schedule(delivery, self._clock.now_ms())

    def _schedule(self, delivery: Delivery, at_ms: int) -> None:
        delivery.next_at_ms = at_ms
        self._book.dirty = True
        self._clock.call_at(at_ms, partial(self._try, delivery, at_ms))

    async def _try(self, delivery: Delivery, at_ms: int) -> None:
        # A resend in the meantime has its own place in the queue; this one is void then.
        if delivery.status != "pending" or delivery.next_at_ms != at_ms:
            return
        started_at = self._clock.now_ms()
        delivery.next_at_ms = None
        delivery.tries += 1
        status_code, error = await self._post(delivery)
        delivery.attempts.append(Attempt(started_at, status_code, error))
        self._book.dirty = True
        if status_code == 200:  # noqa: PLR2004 - no other status counts as delivered
            delivery.status = "delivered"
            return
        waits = _WAITS_MS[self._settings().webhook_schedule]
        if delivery.tries > len(waits):
            delivery.status = "failed"
        elif delivery.next_at_ms is None:
            self._schedule(delivery, started_at + waits[delivery.tries - 1])

    async def _post(self, delivery: Delivery) -> tuple[int | None, str | None]:
        if self._session is None:
            return None, "the sandbox is not running"
        body = delivery.body.encode()
        headers = {"x-paystack-signature": sign(self._secret_key, body)}
        try:
            async with self._session.post(delivery.url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.content.read(_ANSWER_BYTES_MAX)
                return answer.status, None
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_SECONDS} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"
