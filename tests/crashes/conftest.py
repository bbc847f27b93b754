"""Payfleet at a Paystack that keeps its own book, and a process of it that can be made to go wrong."""

import os
from collections.abc import Generator
from dataclasses import replace

import pytest

from db.connection import Database
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.crashing import InTurn, Touches, WatchedTransport, watched_database
from tests.documented import assert_events_described
from tests.quiet import Shop
from tests.stories import SECRET_KEY, seal

IS_FULL = os.environ.get("CRASH_SWEEP") == "full"


@pytest.fixture
def sandbox() -> Generator[RunningSandbox]:
    with running_sandbox(Options(seed=7, secret_key=SECRET_KEY)) as running:
        running.control("clock", {"freeze": True})
        yield running


@pytest.fixture
def shop(database: Database, sandbox: RunningSandbox) -> Generator[Shop]:
    gateway = GatewayThreads(8)
    context = JobContext(
        database=database,
        seal=seal(),
        paystack=Paystack(Transport(sandbox.url, SECRET_KEY)),
        gateway=gateway,
        callback_url=None,
        live=False,
        resend_refunds=True,
        refund_duplicates=False,
    )
    yield Shop(context, sandbox)
    gateway.close()
    assert_events_described(database)


@pytest.fixture
def touches() -> Touches:
    return Touches(inside_transactions=IS_FULL)


@pytest.fixture
def process(shop: Shop, migrated_url: str, touches: Touches) -> Generator[JobContext]:
    """The process that goes wrong; the others of the shop go on."""
    with watched_database(migrated_url, touches) as database:
        paystack = Paystack(WatchedTransport(shop.sandbox.url, SECRET_KEY, touches))
        yield replace(shop.context, database=database, paystack=paystack, gateway=InTurn())
