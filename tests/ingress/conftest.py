"""The application as the server loads it, on the tests' Postgres, and a worker with a sandbox beside it."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from db import connection
from db.connection import Database
from domain.payment import Payment
from domain.settings import Settings
from ingress import app as application
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.verify import verify_payments
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.documented import DocumentedClient
from tests.stories import JWT_SECRET, SECRET_KEY, job_ids, seal, settings_for

MakeApp = Callable[[Settings], Flask]


@pytest.fixture(scope="session")
def make_app() -> Generator[MakeApp]:
    """Build applications whose pools are closed at the end of the session."""
    with pytest.MonkeyPatch.context() as patch:
        closers: list[Callable[..., object]] = []
        patch.setattr(application.atexit, "register", closers.append)
        patch.setattr(Flask, "test_client_class", DocumentedClient)
        yield application.create_app
        for close in closers:
            close()


@pytest.fixture(scope="session")
def session_app(make_app: MakeApp, migrated_url: str) -> Flask:
    return make_app(settings_for(migrated_url))


@pytest.fixture
def client(session_app: Flask, database: Database) -> FlaskClient:
    return session_app.test_client()


@pytest.fixture
def cut_off(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The application with a Postgres that is not there."""
    monkeypatch.setattr("db.connection._POOL_WAIT_SECONDS", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return make_app(settings_for(f"postgresql://nobody@127.0.0.1:{port}/none")).test_client()


@pytest.fixture
def app_with(make_app: MakeApp, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], FlaskClient]:
    """The application on sessions with one more option."""

    def make(option: str) -> FlaskClient:
        monkeypatch.setattr(connection, "_SESSION_OPTIONS", f"{connection._SESSION_OPTIONS} -c {option}")
        return make_app(settings_for(migrated_url)).test_client()

    return make


@pytest.fixture
def sandbox() -> Generator[RunningSandbox]:
    with running_sandbox(Options(secret_key=SECRET_KEY, seed=1)) as running:
        yield running


def context_at(database: Database, url: str) -> JobContext:
    return JobContext(
        database=database,
        seal=seal(),
        paystack=Paystack(Transport(url, SECRET_KEY)),
        gateway=GatewayThreads(4),
        callback_url=None,
        live=False,
        resend_refunds=True,
        refund_duplicates=False,
    )


@pytest.fixture
def context(database: Database, sandbox: RunningSandbox) -> JobContext:
    return context_at(database, sandbox.url)


@contextmanager
def working(context: JobContext) -> Generator[None]:
    """A worker beside the client, that does what is due."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.01):
            verify_payments(context, job_ids(context.database, "verify_payment"))

    with ThreadPoolExecutor(1) as threads:
        worker = threads.submit(work)
        try:
            yield
        finally:
            stop.set()
            worker.result()


def pay(sandbox: RunningSandbox, payment: Payment, card: str = "4084084084084081") -> None:
    sandbox.control(f"transactions/{payment.reference}/pay", {"card": card})


def token(subject: Any = "user-1", roles: Any = ("customer",), key: str = JWT_SECRET, **claims: Any) -> str:
    values = {"sub": subject, "roles": list(roles), "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in values.items() if value is not None}, key, algorithm="HS256")


def bearer(text: str | None = None, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token() if text is None else text}", **more}


ORDER: dict[str, Any] = {
    "userId": "user-1",
    "orderId": "order-1",
    "amount": 50_000,
    "currency": "NGN",
    "email": "ada.lovelace@example.com",
}
