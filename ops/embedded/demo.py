"""One payment from POST to SUCCESS against a running stack, each step with its time."""

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import requests

from domain.settings import Settings
from ops.tokens import sign_token

USER = "user_demo"
CARD = "4084084084084081"  # Paystack's test card that always succeeds
STEP_SECONDS_MAX = 30
POLL_SECONDS = 0.05


class DemoError(Exception):
    """A step did not do what it should."""


class Demo:
    """A merchant's backend and a customer, played against the API and the sandbox."""

    def __init__(self, web_url: str, sandbox_url: str, env: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Take the addresses and the environment whose JWT_SECRET signs the backend's token."""
        self._web = web_url
        self._sandbox = sandbox_url
        self._say = say
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {_token(env, minutes=5)}"
        self._started = time.monotonic()

    @staticmethod
    def curl_line(web_url: str, env: Mapping[str, str]) -> str:
        """A command that starts a payment, with a token good for an hour."""
        return (
            f"  curl -s {web_url}/payments \\\n"
            f"    -H 'Authorization: Bearer {_token(env, minutes=60)}' \\\n"
            "    -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\\n"
            f'    -d \'{{"userId": "{USER}", "orderId": "{_order()}", "amount": 250000, "currency": "NGN", '
            '"email": "ada@example.com"}\''
        )

    def run(self) -> None:
        """Drive one payment.

        Raises:
            DemoError: a step failed or took too long.

        """
        body = {
            "userId": USER,
            "orderId": _order(),
            "amount": 250_000,
            "currency": "NGN",
            "email": "ada@example.com",
        }
        payment = self._call("POST", f"{self._web}/payments", 201, body, {"Prefer": f"wait={STEP_SECONDS_MAX}"})["data"]
        self._note(f"POST /payments             {payment['paymentId']} is {payment['status']}")
        if not payment["authorizationUrl"]:
            message = f"the payment has no checkout page: {payment}"
            raise DemoError(message)
        self._note(f"the customer's page        {payment['authorizationUrl']}")
        self._call("POST", f"{self._sandbox}/_sandbox/transactions/{payment['reference']}/pay", 200, {"card": CARD})
        self._note(f"the customer pays          test card {CARD[:4]} … {CARD[-4:]}")
        payment = self._wait_for_success(payment["paymentId"])
        self._note(f"webhook in, payment is     {payment['status'].upper()}, paid at {payment['paidAt']}")

    def _wait_for_success(self, payment_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + STEP_SECONDS_MAX
        while time.monotonic() < deadline:
            payment: dict[str, Any] = self._call("GET", f"{self._web}/payments/{payment_id}", 200)["data"]
            if payment["status"] == "success":
                return payment
            time.sleep(POLL_SECONDS)
        message = f"{payment_id} did not reach SUCCESS within {STEP_SECONDS_MAX} s; see .payfleet/logs/"
        raise DemoError(message)

    def _call(
        self, method: str, url: str, expected: int, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            response = self._session.request(method, url, json=body, headers=headers, timeout=STEP_SECONDS_MAX + 5)
        except requests.RequestException as error:
            message = f"{method} {url}: {type(error).__name__}"
            raise DemoError(message) from error
        if response.status_code != expected:
            message = f"{method} {url} was answered {response.status_code}, not {expected}: {response.text[:500]}"
            raise DemoError(message)
        answer: dict[str, Any] = response.json()
        return answer

    def _note(self, line: str) -> None:
        self._say(f"  {time.monotonic() - self._started:6.2f} s  {line}")


def _order() -> str:
    """A new order each time: one order has one live payment, and what earlier runs made is still there."""
    return f"order_{secrets.token_hex(3)}"


def _token(env: Mapping[str, str], *, minutes: int) -> str:
    settings = Settings.model_validate({name.lower(): value for name, value in env.items()})
    return sign_token(settings, "demo-backend", ["service"], timedelta(minutes=minutes))
