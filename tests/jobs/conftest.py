"""A gateway to talk to, and everything a use case touches."""

from collections.abc import Generator

import pytest

from db.connection import Database
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from tests.documented import assert_events_described
from tests.jobs import scripted_paystack
from tests.jobs.scripted_paystack import ScriptedPaystack
from tests.stories import SECRET_KEY, seal


@pytest.fixture
def paystack() -> Generator[ScriptedPaystack]:
    with scripted_paystack.running() as server:
        yield server


@pytest.fixture
def context(database: Database, paystack: ScriptedPaystack) -> Generator[JobContext]:
    gateway = GatewayThreads(8)
    yield JobContext(
        database=database,
        seal=seal(),
        paystack=Paystack(Transport(paystack.url, SECRET_KEY)),
        gateway=gateway,
        callback_url="https://shop.example/thanks",
        live=False,
        resend_refunds=True,
        refund_duplicates=False,
    )
    gateway.close()
    assert_events_described(database)
