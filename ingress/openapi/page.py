"""The document as a page for people: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_STYLE = (Path(__file__).parent.parent / "templates" / "reference.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "over {}",
    "maximum": "to {}",
    "minLength": "length from {}",
    "maxLength": "length up to {}",
    "maxItems": "up to {} of them",
    "default": "default {}",
}


def write_page(document: Mapping[str, Any]) -> str:
    """Write the page."""
    environment = Environment(
        loader=PackageLoader("ingress", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "resolve": partial(_resolve, document),
        "prose": _prose,
        "pretty": _pretty,
        "type": _type_of,
        "bounds": _bounds_of,
    }
    environment.filters.update(filters)
    return environment.get_template("reference.html").render(
        info=document["info"],
        sections=[(tag, list(_operations(document, tag["name"]))) for tag in document["tags"]],
        schemas=_own_schemas(document),
        style=_STYLE,
    )


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """List the operations of a tag with their methods and paths; events stand for themselves."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method, path, operation
    for name, item in document["webhooks"].items():
        if tag in item["post"]["tags"]:
            yield "event", name, item["post"]


def _own_schemas(document: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the schemas that need a place of their own: bodies have theirs, and the envelopes are all alike."""
    items = (*document["paths"].values(), *document["webhooks"].values())
    bodies = [operation["requestBody"] for item in items for operation in item.values() if "requestBody" in operation]
    told = {content["schema"]["$ref"].rpartition("/")[2] for body in bodies for content in body["content"].values()}
    return {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if name not in told and (name == "ErrorAnswer" or not name.endswith("Answer"))
    }


def _resolve(document: Mapping[str, Any], thing: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the document, if it is one."""
    if "$ref" not in thing:
        return thing
    found: Any = document
    for part in thing["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def _type_of(schema: Mapping[str, Any]) -> Markup:
    """Name a type, with a link where it has a place of its own on the page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        named = [part for part in schema["anyOf"] if part.keys() & {"$ref", "type", "format"}]
        return Markup(" or ").join(_type_of(part) for part in named)
    if "const" in schema:
        return Markup("<code>{}</code>").format(orjson.dumps(schema["const"]).decode())
    if schema.get("type") == "array":
        return Markup("list of ") + _type_of(schema["items"])
    return escape(schema.get("format") or schema.get("type") or "any")


def _bounds_of(schema: Mapping[str, Any]) -> list[str]:
    """Say what a value must be beside its type."""
    told = [text.format(_short(schema[name])) for name, text in _BOUNDS.items() if schema.get(name) is not None]
    for part in schema.get("anyOf", ()):
        told += _bounds_of(part)
    return told


def _prose(text: str) -> Markup:
    """Write a description; it is Markdown, and what looks like HTML in it is text."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - the renderer escapes what is not its own


def _short(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _pretty(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
