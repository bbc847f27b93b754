"""The OpenAPI 3.1 document, assembled: https://spec.openapis.org/oas/v3.1.1.html."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from domain.errors import STATUS_OF, ErrorCode
from ingress.openapi import components, examples, methods, payments, refunds, service
from ingress.openapi.errors import ERRORS, refused
from ingress.openapi.events import EVENTS
from ingress.openapi.models import ErrorAnswer, answer_with
from ingress.openapi.operation import Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from ingress.openapi.models import Shown
    from ingress.openapi.operation import Answer, Operation, Request

OPERATIONS: tuple[Operation, ...] = (
    *payments.OPERATIONS,
    *refunds.OPERATIONS,
    *methods.OPERATIONS,
    *service.OPERATIONS,
)

_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_RETRIABLE = {
    ErrorCode.REQUEST_IN_PROGRESS,
    ErrorCode.RATE_LIMIT_EXCEEDED,
    ErrorCode.MAINTENANCE_MODE,
    ErrorCode.SERVICE_UNAVAILABLE,
}


class _Schemas(GenerateJsonSchema):
    """JSON Schema without the titles that only repeat the fields' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Assemble the document."""
    answers = {answer.data for operation in OPERATIONS for answer in operation.answers.values()} - {None}
    envelopes = {data: answer_with(data) for data in answers if data is not None}
    bodies = {operation.request.model for operation in OPERATIONS if operation.request is not None}
    queries = {operation.query for operation in OPERATIONS if operation.query is not None}
    schemas = _schemas_of([*bodies, *queries, *envelopes.values(), *EVENTS.values(), ErrorAnswer])
    parameters = {query: _query_parameters(schemas[query.__name__]) for query in queries}
    for query in queries - bodies:
        del schemas[query.__name__]
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        query = [] if operation.query is None else parameters[operation.query]
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, query, envelopes)
    return {
        "openapi": "3.1.1",
        "info": components.INFO,
        "servers": [{"url": "/", "description": "This installation."}],
        "tags": components.TAGS,
        "security": [{"bearer": []}],
        "paths": paths,
        "webhooks": {kind.value: _webhook(kind.value, model) for kind, model in EVENTS.items()},
        "components": {
            "securitySchemes": components.SECURITY_SCHEMES,
            "parameters": components.PARAMETERS,
            "headers": components.HEADERS,
            "examples": {code.value: {"summary": text[0], "value": refused(code)} for code, text in ERRORS.items()},
            "schemas": schemas,
        },
    }


def _schemas_of(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    by_name = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [(model, "validation") for model in by_name], ref_template=_REF, schema_generator=_Schemas
    )
    return dict(sorted(found["$defs"].items()))


def _query_parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.get("description", ""),
            "schema": _given(field),
        }
        for name, field in schema["properties"].items()
    ]


def _given(field: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a query's field: one that is not given is left out, never null."""
    rest = {name: value for name, value in field.items() if name not in {"description", "anyOf"}}
    if rest.get("default", "") is None:
        del rest["default"]
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) > 1:
        rest["anyOf"] = kinds
    return {**rest, **kinds[0]} if len(kinds) == 1 else rest


def _operation(
    operation: Operation,
    query: Iterable[dict[str, Any]],
    envelopes: Mapping[type[Shown], type[BaseModel]],
) -> dict[str, Any]:
    in_path = re.findall(r"\{(\w+)\}", operation.path)
    named = [*in_path, *operation.headers, "X-Request-Id", "traceparent"]
    written: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag.value],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*({"$ref": f"#/components/parameters/{name}"} for name in named), *query],
    }
    if not operation.needs_token:
        written["security"] = []
    if operation.request is not None:
        written["requestBody"] = _body(operation.request)
    responses = {status: _answer(answer, operation, envelopes) for status, answer in operation.answers.items()}
    responses |= {status: _refusal(status, codes) for status, codes in _by_status(operation.all_errors).items()}
    written["responses"] = {str(status.value): responses[status] for status in sorted(responses)}
    return written


def _body(request: Request) -> dict[str, Any]:
    given = {title: {"value": value} for title, value in request.examples.items()}
    schema = {"$ref": _REF.format(model=request.model.__name__)}
    return {"required": True, "content": {_JSON: {"schema": schema, "examples": given}}}


def _answer(answer: Answer, operation: Operation, envelopes: Mapping[type[Shown], type[BaseModel]]) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.data is not None and answer.example is not None:
        schema = {"$ref": _REF.format(model=envelopes[answer.data].__name__)}
        written["content"] = {_JSON: {"schema": schema, "example": examples.answered(answer.example)}}
    elif answer.media_type is not None:
        written["content"] = {answer.media_type: {}}
    if operation.links:
        written["links"] = {
            target: {"operationId": target, "parameters": {name: f"$response.body#{pointer}"}}
            for target, (name, pointer) in operation.links.items()
        }
    return written


def _by_status(codes: Iterable[ErrorCode]) -> dict[HTTPStatus, list[ErrorCode]]:
    found: dict[HTTPStatus, list[ErrorCode]] = {}
    for code in codes:
        found.setdefault(STATUS_OF[code], []).append(code)
    return found


def _refusal(status: HTTPStatus, codes: list[ErrorCode]) -> dict[str, Any]:
    narrowed = {"properties": {"error": {"properties": {"code": {"enum": [code.value for code in codes]}}}}}
    headers = [Header.RETRY_AFTER] if _RETRIABLE.intersection(codes) else []
    if ErrorCode.UNAUTHORIZED in codes:
        headers.append(Header.WWW_AUTHENTICATE)
    return {
        "description": f"{status.phrase}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _headers(headers),
        "content": {
            _JSON: {
                "schema": {"allOf": [{"$ref": _REF.format(model=ErrorAnswer.__name__)}, narrowed]},
                "examples": {code.value: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def _headers(headers: Iterable[Header]) -> dict[str, Any]:
    names = ("X-Request-Id", *(header.value for header in headers))
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _webhook(kind: str, model: type[BaseModel]) -> dict[str, Any]:
    example = examples.told(kind, examples.EVENT_DATA[kind])
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {
        "post": {
            "operationId": f"on{model.__name__.removesuffix('Event')}",
            "tags": [components.EVENTS_TAG],
            "summary": kind,
            "description": components.EVENT_DESCRIPTION,
            "security": [],
            "requestBody": {
                "required": True,
                "content": {components.EVENT_TYPE: {"schema": schema, "example": example}},
            },
            "responses": {"2XX": {"description": "Acknowledge the message once your work on it has committed."}},
        }
    }
