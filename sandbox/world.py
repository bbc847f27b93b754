"""The sandbox as one value: its options, and everything that changes while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from sandbox.book import Book
from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.limits import RateLimits
from sandbox.settings import Schedule, Settings
from sandbox.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides once."""

    secret_key: str = "sk_test_sandbox"  # noqa: S105 - the well-known key of an offline sandbox
    public_url: str = "http://127.0.0.1:4010"
    webhook_url: str | None = None
    webhook_schedule: Schedule = "live"
    currencies: tuple[str, ...] = ("NGN", "GHS", "ZAR", "KES", "USD")
    seed: int | None = None
    data: Path | None = None

    def settings(self) -> Settings:
        """Return the settings a sandbox starts with."""
        return Settings(webhook_url=self.webhook_url, webhook_schedule=self.webhook_schedule)


@dataclass(slots=True)
class World:
    """All the state of one sandbox, reachable from every request."""

    options: Options
    clock: Clock
    book: Book
    settings: Settings
    faults: Faults
    limits: RateLimits
    webhooks: Webhooks = field(init=False)

    def __post_init__(self) -> None:
        """Give the webhooks a way to see settings that change later."""
        self.webhooks = Webhooks(
            clock=self.clock,
            book=self.book,
            settings=lambda: self.settings,
            secret_key=self.options.secret_key,
            seed=self.options.seed,
        )


def new_world(options: Options, *, book: Book | None = None, clock: Clock | None = None) -> World:
    """Make a sandbox, empty unless a book and a clock are given."""
    clock = clock or Clock()
    return World(
        options=options,
        clock=clock,
        book=book or Book(seed=options.seed),
        settings=options.settings(),
        faults=Faults(seed=options.seed),
        limits=RateLimits(clock),
    )


WORLD = web.AppKey("world", World)
