"""What goes over the wire: JSON values as types, request bodies read, answers written."""

from __future__ import annotations

import json
import math
import re
from typing import TypeAlias, cast
from urllib.parse import parse_qsl

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"

_BRACKETED = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>[^\[\]]*)\]")
# Cheap to look for, and rare: only then the strings are gone through.
_SURROGATE = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)


class UnreadableBodyError(ValueError):
    """The body is neither a JSON object nor a form."""


def dump(value: Json) -> bytes:
    """Write compact JSON as Paystack emits it: no blanks, slashes and UTF-8 unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def load(raw: bytes) -> Json:
    """Read strict JSON; halves of surrogate pairs, which UTF-8 cannot express, become question marks.

    Raises:
        UnreadableBodyError: if it is broken, nested too deeply, or holds NaN or Infinity.

    """
    try:
        value = cast("Json", json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite))
        return _without_surrogates(value) if _SURROGATE.search(raw) else value
    except (ValueError, RecursionError) as error:
        raise UnreadableBodyError(str(error)) from error


def read_object(raw: bytes, content_type: str) -> JsonObject:
    """Read a request body, JSON or form; an empty one is an empty object.

    Raises:
        UnreadableBodyError: if it is broken, no object, or holds NaN or Infinity.

    """
    if not raw.strip():
        return {}
    try:
        if content_type == "application/x-www-form-urlencoded":
            return _read_form(raw.decode())
    except ValueError as error:
        raise UnreadableBodyError(str(error)) from error
    value = load(raw)
    if not isinstance(value, dict):
        message = "the body must be a JSON object"
        raise UnreadableBodyError(message)
    return value


def _refuse_constant(name: str) -> Json:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _without_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(member) for member in value]
    if isinstance(value, dict):
        return {key.encode("utf-8", "replace").decode(): _without_surrogates(value[key]) for key in value}
    return value


def _finite(text: str) -> float:
    # 1e400 reads as infinity, which could not be written again.
    value = float(text)
    if not math.isfinite(value):
        message = f"{text} is too large"
        raise ValueError(message)
    return value


def _read_form(text: str) -> JsonObject:
    """Read ``a=1&list[]=x&list[]=y&object[key]=z`` one level deep, as PHP-like servers do."""
    result: JsonObject = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        bracketed = _BRACKETED.fullmatch(name)
        if bracketed is None:
            result[name] = value
            continue
        key = bracketed["key"]
        if not key or key.isdigit():
            values = result.setdefault(bracketed["name"], [])
            if isinstance(values, list):
                values.append(value)
        else:
            members = result.setdefault(bracketed["name"], {})
            if isinstance(members, dict):
                members[key] = value
    return result
