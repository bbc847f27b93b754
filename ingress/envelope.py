"""The shape of every answer: `{success, data, error, timestamp, requestId}`, whatever happened."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from domain.errors import STATUS_OF, ContendedError, ErrorCode, ReadOnlyError, RefusedError, UnavailableError
from domain.instants import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import WSGIEnvironment

_log = structlog.get_logger(__name__)

_CODE_OF_STATUS: dict[int, ErrorCode] = {
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCode.PAYLOAD_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
_HEADERS: tuple[tuple[str, str], ...] = (
    ("Content-Type", "application/json"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_REPRESENTATION = 1  # to be raised when what is shown of the same version changes
_RETRY_AFTER_UNAVAILABLE_SECONDS = 2
_RETRY_AFTER_READ_ONLY_SECONDS = 10


def answer(
    data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with data."""
    return _respond(status, success=True, data=data, error=None, headers=headers)


def answer_unless_known(data: Mapping[str, Any], *, version: int) -> Response:
    """Answer with data that only a new version changes, or 304 to a client that holds this version (RFC 9110 §13.1.2).

    The tag is weak: every answer has a time and a request id of its own.
    """
    tag = f'W/"{_REPRESENTATION}.{version}"'
    # To be asked again each time; but an answer that has not changed need not be sent.
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if "HTTP_IF_NONE_MATCH" in request.environ and request.if_none_match.contains_weak(f"{_REPRESENTATION}.{version}"):
        return EnvelopeResponse(b"", HTTPStatus.NOT_MODIFIED, g.request_id, headers)
    return answer(data, headers=headers)


def refuse(
    code: ErrorCode,
    message: str,
    *,
    details: str | None = None,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with an error."""
    error = {"code": code.value, "message": message, "details": details, "field": field}
    return _respond(STATUS_OF[code], success=False, data=None, error=error, headers=headers)


def _respond(
    status: HTTPStatus,
    *,
    success: bool,
    data: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
    headers: Mapping[str, str] | None,
) -> Response:
    request_id: str = g.request_id
    body = {
        "success": success,
        "data": data,
        "error": error,
        # For people reading along; nothing stored or compared comes from this machine's clock.
        "timestamp": instant(datetime.fromtimestamp(time.time(), UTC)),
        "requestId": request_id,
    }
    return EnvelopeResponse(orjson.dumps(body), status, request_id, headers or {})


class EnvelopeResponse(Response):
    """A response whose headers leave as they are here: werkzeug would copy and check each of them twice over."""

    default_mimetype = None

    def __init__(self, body: bytes, status: HTTPStatus, request_id: str, headers: Mapping[str, str]) -> None:
        """Take the whole body; `headers` are added to those of every answer, `Cache-Control` instead of `no-store`."""
        super().__init__([body], status)
        self._complete = [*_HEADERS, ("X-Request-Id", request_id), *headers.items()]
        if "Cache-Control" not in headers:
            self._complete.append(("Cache-Control", "no-store"))
        if status is not HTTPStatus.NOT_MODIFIED:
            self._complete.append(("Content-Length", str(len(body))))

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return body, status line and headers; `Location` may stay relative (RFC 9110 §10.2.2)."""
        return self.get_app_iter(environ), self.status, self._complete


def register_error_handlers(app: Flask) -> None:
    """Make every error of every route leave in the envelope."""

    @app.errorhandler(RefusedError)
    def _refused(error: RefusedError) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.code is ErrorCode.UNAUTHORIZED else {}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        return refuse(error.code, error.message, details=error.details, field=error.field, headers=headers)

    @app.errorhandler(ContendedError)
    def _contended(error: ContendedError) -> Response:
        _log.warning("request.contended", error=str(error), request_id=g.request_id)
        return refuse(
            ErrorCode.REQUEST_IN_PROGRESS,
            "A request with the same key, or for the same thing, is still being stored.",
            details="Send the same request again in a moment, with the same Idempotency-Key.",
            headers={"Retry-After": str(_RETRY_AFTER_UNAVAILABLE_SECONDS)},
        )

    @app.errorhandler(ReadOnlyError)
    def _read_only(error: ReadOnlyError) -> Response:
        _log.warning("request.read_only", error=str(error), request_id=g.request_id)
        return refuse(
            ErrorCode.MAINTENANCE_MODE,
            "Payfleet's database takes no writes now; nothing was stored.",
            details="Reading works. Send the same request again later, with the same Idempotency-Key.",
            headers={"Retry-After": str(_RETRY_AFTER_READ_ONLY_SECONDS)},
        )

    @app.errorhandler(UnavailableError)
    def _unavailable(error: UnavailableError) -> Response:
        _log.warning("request.unavailable", error=str(error), request_id=g.request_id)
        return refuse(
            ErrorCode.SERVICE_UNAVAILABLE,
            "Payfleet cannot reach its database; nothing was stored.",
            details="Send the same request again, with the same Idempotency-Key.",
            headers={"Retry-After": str(_RETRY_AFTER_UNAVAILABLE_SECONDS)},
        )

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        code = _CODE_OF_STATUS.get(error.code or 0, ErrorCode.INVALID_REQUEST)
        headers = {name: value for name, value in error.get_headers() if name == "Allow"}
        return refuse(code, error.description or code.value, headers=headers)

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        _log.error("request.failed", exc_info=error, request_id=g.request_id)
        return refuse(ErrorCode.INTERNAL_ERROR, "Payfleet failed to serve this request.")
