"""A customer may ask so often and no more, wherever it asks; backends, webhooks and health are not counted."""

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from db.connection import Database
from domain.errors import ErrorCode
from tests.ingress.conftest import ORDER, MakeApp, bearer, token
from tests.ingress.test_input import hook, refused
from tests.stories import settings_for

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return redis_url


def limited(make_app: MakeApp, url: str, **changes: Any) -> FlaskClient:
    limits = {"rate_limit_max_requests": 3, "rate_limit_payment_max": 2, "rate_limit_window_ms": 60_000}
    return make_app(settings_for(url, **(limits | changes))).test_client()


def look(client: FlaskClient, subject: str = "user-1", role: str = "customer") -> Any:
    return client.get(f"/payments/pay_{'0' * 26}", headers=bearer(token(subject, [role])))


def is_over(answer: Any) -> bool:
    if answer.status_code != 429:
        return False
    refused(answer, ErrorCode.RATE_LIMIT_EXCEEDED)
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    return True


@pytest.mark.parametrize("shared", [None, NOBODY])
def test_a_customers_requests_are_counted_without_redis_too(
    make_app: MakeApp, migrated_url: str, database: Database, shared: str | None
) -> None:
    client = limited(make_app, migrated_url, redis_url=shared)
    assert [is_over(look(client)) for _ in range(5)] == [False] * 3 + [True] * 2
    assert not is_over(look(client, "user-2"))


def test_two_processes_count_together(
    make_app: MakeApp, migrated_url: str, database: Database, empty_redis: str
) -> None:
    one, other = (limited(make_app, migrated_url, redis_url=empty_redis) for _ in range(2))
    assert [is_over(look(client)) for client in (one, other, one, other, one)] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("role", ["service", "support", "finance", "admin"])
def test_backends_are_not_counted(make_app: MakeApp, migrated_url: str, database: Database, role: str) -> None:
    client = limited(make_app, migrated_url)
    assert not any(is_over(look(client, "shop", role)) for _ in range(9))


def test_webhooks_and_health_are_not_counted(make_app: MakeApp, migrated_url: str, database: Database) -> None:
    client = limited(make_app, migrated_url)
    assert {hook(client, b"{}").status_code for _ in range(9)} == {200}
    assert {client.get("/health").status_code for _ in range(9)} == {200}


def test_a_customer_starts_so_many_payments_an_hour(make_app: MakeApp, migrated_url: str, database: Database) -> None:
    client = limited(make_app, migrated_url, rate_limit_max_requests=100)
    answers = [client.post("/payments", json=ORDER | {"orderId": f"o-{n}"}, headers=bearer()) for n in range(4)]
    assert [is_over(answer) for answer in answers] == [False, False, True, True]
    assert not is_over(look(client)), "asking goes on"
