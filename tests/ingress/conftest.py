"""The application as the server loads it, on the tests' Postgres."""

import time
from collections.abc import Callable, Generator
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.connection import Database
from domain.settings import Settings
from ingress import app as application
from tests.stories import JWT_SECRET, settings_for

MakeApp = Callable[[Settings], Flask]


@pytest.fixture(scope="session")
def make_app() -> Generator[MakeApp]:
    """Build applications whose pools are closed at the end of the session."""
    with pytest.MonkeyPatch.context() as patch:
        closers: list[Callable[..., object]] = []
        patch.setattr(application.atexit, "register", closers.append)
        yield application.create_app
        for close in closers:
            close()


@pytest.fixture(scope="session")
def session_app(make_app: MakeApp, migrated_url: str) -> Flask:
    return make_app(settings_for(migrated_url))


@pytest.fixture
def client(session_app: Flask, database: Database) -> FlaskClient:
    return session_app.test_client()


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
