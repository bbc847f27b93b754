"""Reading a JSON body as strictly as money deserves: no duplicate keys, no NaN, no depth without end."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

import orjson
from flask import request
from pydantic import BaseModel, ValidationError

from domain.errors import ErrorCode, RefusedError

Model = TypeVar("Model", bound=BaseModel)

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as orjson writes it; Postgres stores no NUL
_CODE_OF_FIELD = {"amount": ErrorCode.INVALID_AMOUNT, "currency": ErrorCode.CURRENCY_NOT_SUPPORTED}


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed JSON object, and its canonical bytes: the same for every spelling of the same content."""

    values: dict[str, Any]
    canonical: bytes


def read_body() -> Body:
    """Read the current request's body.

    Raises:
        RefusedError: it is not declared as JSON, is not one JSON object, or holds what cannot be stored.

    """
    if request.mimetype != "application/json":
        raise RefusedError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "The body must be JSON.",
            details="Send Content-Type: application/json.",
            field="Content-Type",
        )
    try:
        values: object = json.loads(
            request.get_data(cache=False),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except (ValueError, TypeError) as error:  # JSON errors, a number beyond 64 bits, a lone surrogate
        raise _malformed(str(error)) from None
    if not isinstance(values, dict):
        raise _malformed("it is not an object")
    if _ESCAPED_NUL.search(canonical):
        raise _malformed("it contains a NUL character")
    return Body(cast("dict[str, Any]", values), canonical)


def parse(model: type[Model], values: dict[str, Any]) -> Model:
    """Check values against a model.

    Raises:
        RefusedError: names the first field at fault; all of them stand in the details.

    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [(".".join(map(str, e["loc"])), e["msg"]) for e in found]
        field, message = problems[0]
        # A field that does not belong there is no wrong amount, whatever it is called.
        is_known = found[0]["type"] != "extra_forbidden"
        code = _CODE_OF_FIELD.get(field, ErrorCode.INVALID_REQUEST) if is_known else ErrorCode.INVALID_REQUEST
        details = "; ".join(f"{name}: {text}" if name else text for name, text in problems)
        raise RefusedError(code, message, details=details, field=field or None) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        message = "a key appears twice in one object"
        raise ValueError(message)
    return values


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        message = f"{text[:20]} is too large a number"
        raise ValueError(message)
    return number


def _malformed(reason: str) -> RefusedError:
    return RefusedError(ErrorCode.INVALID_REQUEST, "The body is not usable JSON.", details=reason)
