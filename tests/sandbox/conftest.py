"""A fresh sandbox per test, its webhooks caught, and calls with the right key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher, catching_webhooks, running_sandbox
from sandbox.world import Options


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of the tests that need a browser."""
    config.addinivalue_line("markers", "browser: drives a real browser; needs playwright and chromium")


@pytest.fixture
def catcher() -> Iterator[WebhookCatcher]:
    """Listen for webhooks."""
    with catching_webhooks() as catching:
        yield catching


@pytest.fixture
def sandbox(catcher: WebhookCatcher) -> Iterator[RunningSandbox]:
    """Run a sandbox with a seed, which sends its webhooks to the catcher."""
    with running_sandbox(Options(seed=7, webhook_url=catcher.url)) as running:
        yield running


class Api:
    """Paystack's API as a client sees it."""

    def __init__(self, url: str, key: str) -> None:
        """Talk to a sandbox with a key."""
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {key}"

    def initialize(self, **wanted: Any) -> requests.Response:
        """Initialize a transaction; e-mail and amount have defaults."""
        body = {"email": "ama@example.com", "amount": 250000} | wanted
        return self.session.post(f"{self.url}/transaction/initialize", json=body, timeout=10)

    def get(self, path: str, **query: str | int) -> requests.Response:
        """GET a path under /transaction."""
        return self.session.get(f"{self.url}/transaction{path}", params=query, timeout=10)

    def ask(self, path: str, **query: str | int) -> requests.Response:
        """GET any path."""
        return self.session.get(f"{self.url}{path}", params=query, timeout=10)

    def refund(self, transaction: str | int, **wanted: Any) -> requests.Response:
        """Refund a transaction, wholly unless an amount is given."""
        return self.session.post(f"{self.url}/refund", json={"transaction": transaction} | wanted, timeout=10)

    def verify(self, reference: str) -> dict[str, Any]:
        """Return the data of a verify that must succeed."""
        answer = self.get(f"/verify/{reference}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@pytest.fixture
def api(sandbox: RunningSandbox) -> Iterator[Api]:
    """Call the sandbox with its key."""
    client = Api(sandbox.url, sandbox.secret_key)
    yield client
    client.session.close()
