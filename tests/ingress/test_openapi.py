"""The document and the application say the same: every route, every example, every event."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from typer.testing import CliRunner

from db.connection import Database
from domain.errors import STATUS_OF, ErrorCode
from domain.events import EventType
from ingress.openapi.components import VERSION
from ingress.openapi.document import document
from ops.cli import app as command_line
from tests.documented import assert_events_described, complaints, erased, operations
from tests.refunding import ask_refund, pay
from tests.stories import rows

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_valid_openapi() -> None:
    validate(document())
    assert document()["openapi"].startswith("3.1.")


def test_every_route_is_described_and_nothing_else(session_app: Flask) -> None:
    routes = {
        (erased(rule.rule), method)
        for rule in session_app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(operations())


def test_operations_have_names_of_their_own_and_links_lead_to_them() -> None:
    names = [operation["operationId"] for operation in operations().values()]
    assert len(set(names)) == len(names)
    linked = {
        link["operationId"]
        for operation in operations().values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    }
    assert linked <= set(names)


def examples() -> list[Any]:
    """Every example of a body, with its schema."""
    bodies = [
        (f"{operation['operationId']} {place}", content)
        for operation in (*operations().values(), *(hook["post"] for hook in document()["webhooks"].values()))
        for place, holder in (("request", operation.get("requestBody", {})), *operation["responses"].items())
        for content in holder.get("content", {}).values()
    ]
    return [
        pytest.param(example, content["schema"], id=f"{name} {title}")
        for name, content in bodies
        for title, example in [
            *(("", content[key]) for key in ("example",) if key in content),
            *((title, _value(given)) for title, given in content.get("examples", {}).items()),
        ]
    ]


def _value(given: dict[str, Any]) -> object:
    if "$ref" in given:
        return document()["components"]["examples"][given["$ref"].rpartition("/")[2]]["value"]
    return given["value"]


@pytest.mark.parametrize(("example", "schema"), examples())
def test_every_example_fits_its_schema(example: object, schema: dict[str, Any]) -> None:
    assert complaints(example, schema) == []


def test_every_answer_has_an_example() -> None:
    bare = [
        f"{operation['operationId']} {status}"
        for operation in operations().values()
        for status, response in operation["responses"].items()
        for kind, content in response.get("content", {}).items()
        if kind == "application/json" and content and not {"example", "examples"} & set(content)
    ]
    assert bare == []


def test_errors_stand_under_their_own_status() -> None:
    for operation in operations().values():
        for status, response in operation["responses"].items():
            for code in response.get("content", {}).get("application/json", {}).get("examples", {}):
                assert STATUS_OF[ErrorCode(code)] == int(status)


def test_every_type_of_event_is_described() -> None:
    assert set(document()["webhooks"]) == {kind.value for kind in EventType}


def test_events_are_as_described(database: Database) -> None:
    ask_refund(database, pay(database, metadata={"cart": "spring"}))
    told = {row[0] for row in rows(database, "SELECT type FROM events")}
    assert told == {EventType.PAYMENT_SUCCEEDED, EventType.REFUND_INITIATED}
    assert_events_described(database)


def test_the_command_prints_what_is_served(client: FlaskClient) -> None:
    printed = CliRunner().invoke(command_line, ["openapi"])
    assert json.loads(printed.stdout) == client.get("/openapi.json").json


def test_its_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == VERSION


def test_it_is_served_without_a_token(client: FlaskClient) -> None:
    served = client.get("/openapi.json")
    assert (served.status_code, served.content_type) == (200, "application/json")
    assert json.loads(served.data) == json.loads(json.dumps(document()))


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_not_sent_twice(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "public, max-age=300"
