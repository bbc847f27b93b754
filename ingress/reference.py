"""`/openapi.json` and `/docs`: the API described for programs and for people, without a token."""

from __future__ import annotations

from functools import lru_cache

import orjson
from flask import Blueprint, Response, g, request


def reference_blueprint() -> Blueprint:
    """Make the routes."""
    routes = Blueprint("reference", __name__)

    @routes.get("/openapi.json")
    def describe() -> Response:
        return _unless_known(Response(_document(), mimetype="application/json"))

    @routes.get("/docs")
    def show_page() -> Response:
        page, policy = _page()
        return _unless_known(Response(page, mimetype="text/html", headers={"Content-Security-Policy": policy}))

    return routes


def _unless_known(response: Response) -> Response:
    """Answer 304 to a client that has this already; only a new release changes it."""
    response.headers.extend(
        {
            "Cache-Control": "public, max-age=300",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": g.request_id,
        }
    )
    response.add_etag()
    response.make_conditional(request)
    return response


# Only who asks pays for assembling them.


@lru_cache(maxsize=1)
def _document() -> bytes:
    from ingress.openapi.document import document  # noqa: PLC0415

    return orjson.dumps(document())


@lru_cache(maxsize=1)
def _page() -> tuple[str, str]:
    from ingress.openapi.document import document  # noqa: PLC0415
    from ingress.openapi.page import CONTENT_SECURITY_POLICY, write_page  # noqa: PLC0415

    return write_page(document()), CONTENT_SECURITY_POLICY
