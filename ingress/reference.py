"""`/openapi.json` and `/docs`: the API described for programs and for people, without a token.

The page is Swagger UI out of its own wheel: nothing on it comes from another host, and its policy allows no other.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, g, request, send_from_directory

from domain.errors import ErrorCode, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS = Path(__file__).parent / "static"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_FOLDER_OF: Mapping[str, Path] = {
    "reference.css": _OURS,
    "reference.js": _OURS,
    "favicon-32x32.png": _SWAGGER_UI,
    "swagger-ui.css": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
}
_ASSET_SECONDS = 3600
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def reference_blueprint() -> Blueprint:
    """Make the routes."""
    routes = Blueprint("reference", __name__)

    @routes.get("/openapi.json")
    def describe() -> Response:
        response = Response(_document(), mimetype="application/json", headers={"Cache-Control": "no-cache"})
        response.add_etag()
        response.make_conditional(request)
        return response

    @routes.get("/docs")
    def show_page() -> Response:
        return send_from_directory(_OURS, "reference.html", max_age=0)

    @routes.get("/docs/<asset>")
    def send_asset(asset: str) -> Response:
        folder = _FOLDER_OF.get(asset)
        if folder is None:
            raise RefusedError(ErrorCode.NOT_FOUND, "There is no such file.")
        return send_from_directory(folder, asset, max_age=_ASSET_SECONDS)

    @routes.after_request
    def _protect(response: Response) -> Response:
        response.headers.extend({**_HEADERS, "X-Request-Id": g.request_id})
        return response

    return routes


@lru_cache(maxsize=1)
def _document() -> bytes:
    # Only who asks pays for assembling it.
    from ingress.openapi.document import document  # noqa: PLC0415

    return orjson.dumps(document())
