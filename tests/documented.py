"""Holding every answer, and every event, to the API's own document: what it does not describe fails the test."""

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from db.connection import Database
from domain.events import Event, cloud_event
from ingress.openapi.document import document


class DocumentedClient(FlaskClient):
    """Sends requests, and looks up each answer in the document."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        request = response.request
        try:
            rule, _ = self.application.url_map.bind_to_environ(request.environ).match(
                method="GET" if request.method == "HEAD" else request.method, return_rule=True
            )
        except HTTPException:
            assert complaints(response.json, {"$ref": "#/components/schemas/ErrorAnswer"}) == []
        else:
            if request.method != "OPTIONS":
                assert_described(response, request.method, rule.rule)
        return response


def assert_described(response: TestResponse, method: str, rule: str) -> None:
    responses = operations()[erased(rule), method]["responses"]
    status = str(response.status_code)
    assert status in responses, f"{method} {rule} answers {status}, which the document does not know"
    for name, header in responses[status].get("headers", {}).items():
        known = document()["components"]["headers"][header["$ref"].rpartition("/")[2]]
        assert name in response.headers or not known.get("required"), f"{method} {rule} {status} without {name}"
    content = responses[status].get("content", {})
    if not content or method == "HEAD":
        assert response.data == b""
        return
    assert response.content_type in content
    if response.content_type == "application/json" and content["application/json"]:
        found = complaints(response.json, content["application/json"]["schema"])
        assert found == [], f"{method} {rule} {status}: {found}"


def assert_events_described(database: Database) -> None:
    """Hold every event in the database to the document."""
    with database.connection() as connection:
        rows = connection.execute("SELECT id, type, subject, data, correlation_id, created_at FROM events").fetchall()
    for row in rows:
        event = cloud_event(Event(*row))
        content = document()["webhooks"][event["type"]]["post"]["requestBody"]["content"]
        found = complaints(event, content["application/cloudevents+json"]["schema"])
        assert found == [], f"{event['type']}: {found}"


def erased(path: str) -> str:
    """A path with its placeholders emptied: Flask's and the document's are spelled apart."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", "{}", path)


@cache
def operations() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Every operation by its path and method."""
    return {
        (erased(path), method.upper()): operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    }


@cache
def strict_components() -> Mapping[str, Any]:
    """The components, with the leave to add fields later taken back: today's answers have these and no others."""
    components = deepcopy(document()["components"])
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return components


def complaints(value: object, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    validator = OAS31Validator(
        {**schema, "components": strict_components()}, format_checker=OAS31Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
