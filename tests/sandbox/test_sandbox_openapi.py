"""Every answer is held against Paystack's own OpenAPI description; where it is wrong, the reason is said here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from jsonschema import ValidationError
from openapi_schema_validator import OAS30ReadValidator

from sandbox.app import API
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.sandbox.conftest import Api

NAMELESS = "Whoever is known by an e-mail address alone has null for the rest in the published samples."
ERROR_CODES = "The description lists the values of `type` under `code`; real answers have codes such as invalid_Key."
BY_NUMBER_ONLY = "Only pages by number are described; the published samples of these lists are pages by cursor."
UNPAID = "Only paid transactions are described."
EXCUSED = {
    "* data.customer.first_name is null": NAMELESS,
    "* data.customer.last_name is null": NAMELESS,
    "* data.customer.phone is null": NAMELESS,
    "* data.customer.metadata is null": NAMELESS,
    "* data.customer.international_format_phone is null": NAMELESS,
    "* /customer* data.first_name is null": NAMELESS,
    "* /customer* data.last_name is null": NAMELESS,
    "* /customer* data.phone is null": NAMELESS,
    "* /customer* data.metadata is null": NAMELESS,
    "* code is no value of its enum": ERROR_CODES,
    "GET /*?use_cursor 200 meta *": BY_NUMBER_ONLY,
    "GET /transaction* 200 data.authorization is empty": UNPAID,
    "GET /transaction* 200 data.paidAt is null": UNPAID,
    "GET /transaction/{id} 200 data.paid_at is null": UNPAID,
    "GET /transaction/{id} 200 data.fees is null": UNPAID,
    "GET /transaction/{id} 200 data.metadata is no object": "Metadata that was left out is an empty text.",
    "GET /transaction/timeline/{id} 200 data is null": "Only a transaction whose page was opened is described.",
    "GET /transaction/* 200 data.ip_address is null": "Nobody has opened the page: recorded answers have null then.",
    "GET /transaction/{id} 200 data.authorization lacks receiver_bank*": "These are fields of transfers, not of cards.",
    "GET /transaction/{id} 200 data.metadata lacks custom_fields": "What metadata holds is the merchant's choice.",
    "* /charge* 200 unfinished data lacks *": "Only charges that succeeded are described, though all are published.",
    "* /charge/* 200 data lacks redirect_url": "The published samples of 2022 and later have none.",
    "* /charge/* 200 data.authorization.signature is null": "The published samples of bank accounts have null.",
    "POST /charge 200 data.ip_address is null": "Nobody has opened a page.",
    "POST /charge 200 data.authorization lacks receiver_bank*": "These are fields of transfers, not of cards.",
    "POST /charge 200 data.metadata lacks custom_fields": "What metadata holds is the merchant's choice.",
    "GET /refund 200 meta.perPage is no string": "The description's other lists allow a number, as answers have it.",
    "GET /refund/{id} 200 data.fully_deducted is no integer": "The published sample of fetch has a boolean.",
    "POST /refund/retry* 200 data.customer is null": "The published sample has null.",
    "POST /refund/retry* 200 data.dispute is null": "The published sample has null.",
    "POST /refund/retry* 200 data.settlement is null": "The published sample has null.",
}

# Paths that Paystack still serves and describes no more, with the newer one that is held against the description.
OLDER_PATHS = {"/customer/deactivate_authorization": "/customer/authorization/deactivate"}


@cache
def description() -> dict[str, Any]:
    path = Path(__file__).parent / "paystack_openapi" / "paystack.yaml"
    return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)


def deviations(answer: requests.Response) -> list[str]:
    """What an answer has that its description does not allow, each as operation, status, place and fault."""
    parts = urlsplit(answer.request.url or "")
    path = OLDER_PATHS.get(str(parts.path), str(parts.path))
    operation, described = described_answer(str(answer.request.method), path, answer.status_code)
    label = f"{operation}{'?use_cursor' if 'use_cursor' in str(parts.query) else ''} {answer.status_code}"
    if path.startswith("/charge") and answer.ok and answer.json()["data"]["status"] != "success":
        label += " unfinished"
    # References point into the whole description, so that goes along.
    validator = OAS30ReadValidator(described | {"components": description()["components"]})
    return sorted({f"{label} {fault(error)}" for error in validator.iter_errors(answer.json())})


def described_answer(method: str, path: str, status: int) -> tuple[str, dict[str, Any]]:
    """The operation that serves a path, its most literal one, and the schema of its answer ({} if there is none)."""
    fitting = [
        template
        for template, operations in description()["paths"].items()
        if method.lower() in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    template = min(fitting, key=lambda found: found.count("{"))
    answers = description()["paths"][template][method.lower()]["responses"]
    answer = answers.get(str(status), answers["default"])
    for name in answer.get("$ref", "#").split("/")[1:]:
        answer = (description() if name == "components" else answer)[name]
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return f"{method} {template}", schema


def fault(error: ValidationError) -> str:
    # Rows of a list are all alike: their numbers are left out.
    place = ".".join(part for part in error.absolute_path if isinstance(part, str))
    match error.validator:
        case "type" if error.instance is None:
            return f"{place} is null"
        case "type":
            return f"{place} is no {error.validator_value}"
        case "required" if error.instance == {}:
            return f"{place} is empty"
        case "required":
            return f"{place} lacks {error.message.split()[0].strip(chr(39))}".strip()
        case "additionalProperties":
            return f"{place} has more than is described"
        case "enum":
            return f"{place} is no value of its enum"
        case other:
            return f"{place} breaks {other}"


@pytest.fixture(scope="module")
def answers() -> Iterator[list[requests.Response]]:
    """One of every answer, asked for once."""
    with running_sandbox(Options(seed=1)) as sandbox:
        api = Api(sandbox.url, sandbox.secret_key)
        caught: list[requests.Response] = []

        def keep(answer: requests.Response, *_args: object, **_options: object) -> None:
            caught.append(answer)

        api.session.hooks["response"].append(keep)
        ask_for_transactions(api, sandbox)
        ask_for_refunds(api, sandbox)
        ask_for_customers(api)
        ask_for_saved_cards(api, sandbox)
        ask_for_charges(api)
        ask_in_vain(api)
        yield caught
        api.session.close()


def ask_for_transactions(api: Api, sandbox: RunningSandbox) -> None:
    api.initialize(reference="unpaid")
    api.initialize(reference="paid", metadata={"cart": "7"})
    sandbox.control("transactions/paid/pay", {})
    for reference in ("paid", "unpaid"):
        number = api.verify(reference)["id"]
        for path in (f"/{number}", f"/timeline/{reference}"):
            api.get(path)
    for query in ({}, {"use_cursor": "true", "perPage": 1}):
        api.get("", **query)
    api.get("/totals")


def ask_for_refunds(api: Api, sandbox: RunningSandbox) -> None:
    api.initialize(reference="attention")
    sandbox.control("transactions/attention/pay", {"card": "4084080000671902"})
    ids = [api.refund(reference).json()["data"]["id"] for reference in ("paid", "attention")]
    for seconds in (0, 2, 3):
        sandbox.control("clock", {"advance_seconds": seconds})
        for refund_id in ids:
            api.ask(f"/refund/{refund_id}")
        api.ask("/refund")
    account = {"refund_account_details": {"currency": "NGN", "account_number": "0123456789", "bank_id": "9"}}
    for refund_id in ids:
        api.session.post(f"{api.url}/refund/retry_with_customer_details/{refund_id}", json=account, timeout=10)
    api.ask("/refund", transaction="nothing")


def ask_for_customers(api: Api) -> None:
    named = {"first_name": "Esi", "last_name": "Owusu", "phone": "0551234987", "metadata": {"tier": "gold"}}
    for body in ({"email": "esi@example.com", **named}, {"email": "kofi@example.com"}):
        code = api.session.post(f"{api.url}/customer", json=body, timeout=10).json()["data"]["customer_code"]
        api.session.put(f"{api.url}/customer/{code}", json=body, timeout=10)
        api.ask(f"/customer/{code}")
    api.ask("/customer/ama@example.com")
    for query in ({}, {"use_cursor": "true", "perPage": 1}):
        api.ask("/customer", **query)


def ask_for_saved_cards(api: Api, sandbox: RunningSandbox) -> None:
    code = api.verify("paid")["authorization"]["authorization_code"]
    wanted = {"email": "ama@example.com", "amount": 5000, "authorization_code": code}
    for outcome in ("success", "declined", "pending"):
        sandbox.control("charges", {"outcome": outcome, "delay_ms": 0})
        api.session.post(f"{api.url}/transaction/charge_authorization", json=wanted, timeout=10)
    api.session.post(f"{api.url}/transaction/partial_debit", json=wanted | {"currency": "NGN"}, timeout=10)
    for path in ("/customer/authorization/deactivate", "/customer/deactivate_authorization"):
        api.session.post(f"{api.url}{path}", json={"authorization_code": code}, timeout=10)


def ask_for_charges(api: Api) -> None:
    expiry = {"expiry_month": "12", "expiry_year": "2030"}
    phone_card = {"number": "507850785078507804", "cvv": "884"} | expiry
    account = {"code": "057", "account_number": "0000000000"}
    plain_card = {"number": "4084084084084081", "cvv": "408"} | expiry
    for reference, channel, instrument in (
        ("at-once", "card", plain_card),
        ("in-steps", "card", phone_card),
        ("at-home", "card", {"number": "4084080124000004", "cvv": "412"} | expiry),
        ("account", "bank", account),
        ("offline", "ussd", {"type": "737"}),
    ):
        body = {"email": "ama@example.com", "amount": 5000, "reference": reference, "metadata": {"cart": "7"}}
        api.session.post(f"{api.url}/charge", json=body | {channel: instrument}, timeout=10)
        api.ask(f"/charge/{reference}")
        for step, value in (("pin", "0000"), ("phone", "08012345678"), ("birthday", "1990-05-17"), ("otp", "123456")):
            answer = {step: value, "reference": reference}
            api.session.post(f"{api.url}/charge/submit_{step}", json=answer, timeout=10)
        home = {"address": "1 Main St", "city": "Guelph", "state": "ON", "zip_code": "N1G 2W1", "reference": reference}
        api.session.post(f"{api.url}/charge/submit_address", json=home, timeout=10)
        api.ask(f"/charge/{reference}")


def ask_in_vain(api: Api) -> None:
    for path in ("/transaction/1", "/transaction/verify/none", "/refund/1", "/customer/none", "/transaction?from=soon"):
        api.ask(path)
    api.initialize(amount=0)
    api.initialize(reference="paid")
    api.refund("none")
    api.session.headers["Authorization"] = "Bearer sk_test_other"
    for path in ("/transaction", "/refund", "/customer"):
        api.ask(path)


def test_every_answer_is_as_paystack_describes_it_or_excused(answers: list[requests.Response]) -> None:
    found = {deviation for answer in answers for deviation in deviations(answer)}
    assert not sorted(
        deviation for deviation in found if not any(fnmatchcase(deviation, pattern) for pattern in EXCUSED)
    )


def test_every_excuse_is_needed(answers: list[requests.Response]) -> None:
    found = {deviation for answer in answers for deviation in deviations(answer)}
    assert not [pattern for pattern in EXCUSED if not any(fnmatchcase(deviation, pattern) for deviation in found)]


@pytest.mark.parametrize(("name", "method", "template"), [(name, method, path) for name, method, path, _ in API])
def test_every_endpoint_has_been_asked_with_success(
    answers: list[requests.Response], name: str, method: str, template: str
) -> None:
    path = re.sub(r"\{\w+\}", "[^/]+", template)
    assert any(
        answer.ok and answer.request.method == method and re.fullmatch(path, str(urlsplit(answer.url).path))
        for answer in answers
    ), f"{name} was never asked for"


def test_an_answer_that_differs_is_found(answers: list[requests.Response]) -> None:
    answer = next(answer for answer in answers if answer.url.endswith("/transaction/totals"))
    assert deviations(answer) == []
    wrong = requests.Response()
    wrong.status_code, wrong.request = answer.status_code, answer.request
    wrong._content = answer.content.replace(b'"total_volume":', b'"volume":')
    assert deviations(wrong) == ["GET /transaction/totals 200 data lacks total_volume"]
