"""The whole service as real processes, on a database and a virtual host of its own, with the sandbox as Paystack."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import requests

from db.sealing import new_key
from ops.embedded.ports import LOOPBACK, answers, free_port
from ops.embedded.supervisor import Child, Supervisor
from ops.tokens import sign_token
from tests.settings import make_settings

CARD = "4084084084084081"


@dataclass(kw_only=True)
class Fleet:
    """A running fleet, and the ways a test speaks to it."""

    env: dict[str, str]
    supervisor: Supervisor
    web_url: str
    sandbox_url: str
    session: requests.Session = field(default_factory=requests.Session)

    def post_payment(self, *, wait: int = 0, key: str | None = None, **changes: object) -> requests.Response:
        body = {
            "userId": "user_1",
            "orderId": f"order_{secrets.token_hex(6)}",
            "amount": 250_000,
            "currency": "NGN",
            "email": "ada@example.com",
            **changes,
        }
        return self.post("/payments", body, wait=wait, key=key)

    def post(self, path: str, body: object, *, wait: int = 0, key: str | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token()}"}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        if key:
            headers["Idempotency-Key"] = key
        return self.session.post(f"{self.web_url}{path}", json=body, headers=headers, timeout=40)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token()}"}
        response = self.session.get(f"{self.web_url}{path}", params=query, headers=headers, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def get_payment(self, payment_id: str) -> dict[str, Any]:
        return self.get(f"/payments/{payment_id}")

    def wait_for_payment(self, payment_id: str, status: str) -> dict[str, Any]:
        wait_until(lambda: self.get_payment(payment_id)["status"] == status, f"the payment is {status}")
        return self.get_payment(payment_id)

    def control(self, path: str, **body: object) -> Any:
        response = self.session.post(f"{self.sandbox_url}/_sandbox/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def book(self) -> Any:
        return self.session.get(f"{self.sandbox_url}/_sandbox/book", timeout=30).json()

    def get_book(self, reference: str) -> Any:
        """What the sandbox has on its own account of one transaction."""
        return self.session.get(f"{self.sandbox_url}/_sandbox/book", params={"reference": reference}, timeout=30).json()

    def token(self, subject: str = "shop", role: str = "service") -> str:
        return sign_token(make_settings(self.env), subject, [role], timedelta(minutes=10))

    def query(self, sql: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(sql, parameters).fetchall()

    def execute(self, sql: LiteralString) -> None:
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(sql)

    def advance_clock(self, seconds: int) -> None:
        """Let time pass in the database: leases and waits end."""
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(
                "UPDATE test_clock SET clock_offset = clock_offset + make_interval(secs => %s)", [seconds]
            )

    def check_books(self, *arguments: str) -> dict[str, Any]:
        """What `payfleet check-books --with-paystack` finds."""
        command = [sys.executable, "-m", "ops", "check-books", "--with-paystack", "--json", *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in {0, 1}, done.stderr
        return {check["name"]: check["examples"] for check in json.loads(done.stdout)["checks"] if check["count"]}

    def have_sound_books(self) -> None:
        """Let the quiet time pass: what was left behind is found then, and what only waited its turn has had it."""
        self.advance_clock(1_000)
        found: dict[str, Any] = {}

        def nothing_is_found() -> bool:
            found.clear()
            found.update(self.check_books("--since", "30d"))
            return not found

        try:
            wait_until(nothing_is_found, "the books are sound")
        except AssertionError as error:
            raise AssertionError(dump(found)) from error

    def kill(self, name: str) -> None:
        """End a process as a crash would; the supervisor starts it again."""
        before = self.supervisor.restarts(name)
        os.kill(self.supervisor.pid(name), signal.SIGKILL)
        wait_until(lambda: self.supervisor.restarts(name) > before, f"{name} was started again")


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
    """Wait for something to become true; fails with what it was when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@contextmanager
def running_fleet(state: Path, database_url: str, rabbitmq_url: str, redis_url: str) -> Generator[Fleet]:
    """Start every process, each with environment variables only, and stop them at the end."""
    web, sandbox = free_port(), free_port()
    env = {
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": rabbitmq_url,
        "REDIS_URL": redis_url,
        "PORT": str(web),
        "PAYSTACK_SECRET_KEY": f"sk_test_{secrets.token_hex(8)}",
        "PAYSTACK_BASE_URL": f"http://{LOOPBACK}:{sandbox}",
        # As many calls as the sandbox bears: it counts none unless it is told to.
        "PAYSTACK_RATE_LIMITS": "all=1000000",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": new_key(),
        "LOG_LEVEL": "info",
        # A customer in a test may be many clients at once; tests/ingress holds the limits to what they promise.
        "RATE_LIMIT_MAX_REQUESTS": "1000000",
        "RATE_LIMIT_PAYMENT_MAX": "1000000",
    }
    fleet = Fleet(
        env=env,
        # Processes are killed here on purpose, many times: they are started again at once.
        supervisor=Supervisor(_children(env, web, sandbox), state=state, backoff_max_seconds=0.5),
        web_url=f"http://{LOOPBACK}:{web}",
        sandbox_url=f"http://{LOOPBACK}:{sandbox}",
    )
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            fleet.supervisor.run_once()

    watcher = threading.Thread(target=watch, daemon=True)
    with fleet.supervisor:
        watcher.start()
        try:
            yield fleet
        finally:
            stop.set()
            watcher.join()
            fleet.session.close()


def _children(env: dict[str, str], web: int, sandbox: int) -> list[Child]:
    def payfleet(name: str, *arguments: str, ready: Callable[[], bool] = lambda: True, once: bool = False) -> Child:
        argv = [sys.executable, "-m", "ops", name.split("-", maxsplit=1)[0], *arguments]
        return Child(name=name, argv=argv, env=env, ready=ready, once=once)

    webhook_url = f"http://{LOOPBACK}:{web}/webhooks/paystack"
    options = ("--port", str(sandbox), "--secret-key", env["PAYSTACK_SECRET_KEY"], "--webhook-url", webhook_url)
    return [
        payfleet("sandbox", *options, ready=lambda: answers(sandbox)),
        payfleet("migrate", once=True),
        payfleet("web", "--host", LOOPBACK, ready=lambda: answers(web)),
        payfleet("relay"),
        payfleet("worker-1"),
        payfleet("worker-2"),
        payfleet("scheduler"),
    ]


def dump(value: object) -> str:
    """Show what a test found, for its failure message."""
    return json.dumps(value, indent=1, default=str)[:4000]
