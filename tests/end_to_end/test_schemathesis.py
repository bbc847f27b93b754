"""Schemathesis against the running fleet: whatever the document lets a client send, no answer is undocumented or 5xx.

All of its checks and phases, with payments, refunds and methods in their various states to act upon. `make fuzz` is the
same for every role, with many more examples, and other ones each time.
"""

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.fleet import CARD, Fleet, dump, wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("PAYFLEET_FUZZ_EXAMPLES", "0"))
FEW = 2
USER, EMAIL = "user_of_schemathesis", "schemathesis@example.com"
SUBJECT_OF = {"customer": USER, "service": "shop", "support": "grace", "admin": "root"}
ROLES = list(SUBJECT_OF) if EXAMPLES else ["customer", "service"]


@dataclass(frozen=True)
class Known:
    """Ids of what is there to act upon."""

    payments: list[str]
    references: list[str]
    refunds: list[str]
    methods: list[str]


@pytest.fixture(scope="module")
def known(shared_fleet: Fleet) -> Known:
    """Payments that are payable, failed, paid, and refunded in part and whole; their refunds, and a saved card."""
    fleet = shared_fleet
    payable, paid, partly, wholly = (
        fleet.post_payment(wait=20, userId=USER, email=EMAIL, savePaymentMethod=True).json()["data"] for _ in range(4)
    )
    for payment in (paid, partly, wholly):
        fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
        fleet.wait_for_payment(payment["paymentId"], "success")
    refunds = [
        fleet.post(f"/payments/{payment['paymentId']}/refund", body, wait=20).json()["data"]["refundId"]
        for payment, body in ((partly, {"amount": 50_000}), (wholly, {}))
    ]
    wait_until(lambda: fleet.get(f"/payment-methods/user/{USER}")["paymentMethods"] != [], "the card was saved")
    methods = fleet.get(f"/payment-methods/user/{USER}")["paymentMethods"]
    fleet.control("charges", email=EMAIL, outcome="insufficient_funds")
    order = {"userId": USER, "orderId": secrets.token_hex(6), "amount": 1_000}
    order["paymentMethodId"] = methods[0]["paymentMethodId"]
    failed = fleet.post("/payments", order, wait=20).json()["data"]
    assert failed["status"] == "failed", dump(failed)
    found = (payable, failed, paid, partly, wholly)
    return Known(
        payments=[payment["paymentId"] for payment in found],
        references=[payment["reference"] for payment in found],
        refunds=refunds,
        methods=[method["paymentMethodId"] for method in methods],
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("role", ROLES)
def test_every_answer_is_as_documented(fleet: Fleet, known: Known, role: str, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(_config(fleet.token(SUBJECT_OF[role], role), known), encoding="utf-8")
    command = ["-m", "schemathesis.cli", "--config-file", str(config), "run", f"{fleet.web_url}/openapi.json"]
    run = subprocess.run(
        [sys.executable, *command, "--no-color", "--warnings", "off"],
        cwd=tmp_path,  # it keeps a cache where it stands
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout[-1500:])
    assert run.returncode == 0, run.stdout + run.stderr


def _config(token: str, known: Known) -> str:
    """Configure a run; ids are taken from what is there most of the time, and made up otherwise."""
    values = {
        "payments": known.payments,
        "references": known.references,
        "refunds": known.refunds,
        "methods": known.methods,
        "users": [USER, f"user_{secrets.token_hex(4)}"],
        "channels": ["card"],
    }
    bound = {
        "path.paymentId": "payments",
        "path.refundId": "refunds",
        "path.paymentMethodId": "methods",
        "path.userId": "users",
        "query.reference": "references",
        "body.reference": "references",
        "body.userId": "users",
        "body.channels.[*]": "channels",
    }
    dictionaries = "\n".join(f"{name} = {{ values = {json.dumps(given)} }}" for name, given in values.items())
    parameters = "\n".join(f'"{key}" = {{ dictionary = "{name}", probability = 0.8 }}' for key, name in bound.items())
    return f"""
hooks = "tests.end_to_end.schemathesis_hooks"
headers = {{ Authorization = "Bearer {token}" }}
suppress-health-check = ["all"]  # they judge how fast examples are found, not the API

[generation]
max-examples = {EXAMPLES or FEW}
deterministic = {json.dumps(not EXAMPLES)}
allow-x00 = false  # NUL is refused everywhere, and JSON Schema has no good word for that
database = "none"

[checks]
positive_data_acceptance.enabled = false  # see what_fits_the_document_is_not_malformed
use_after_free.enabled = false  # a method that was taken away stays readable, and says so

[dictionaries]
{dictionaries}

[parameters]
{parameters}
"""
