"""`POST /webhooks/paystack`: check the signature over the raw body, store it once with its job, answer at once."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g, request

from db import webhooks
from domain.errors import ErrorCode, RefusedError
from ingress.envelope import answer

if TYPE_CHECKING:
    from db.connection import Database
    from db.sealing import Seal

_BODY_BYTES_MAX = 256 * 1024  # Paystack's largest events have a few kilobytes


def webhooks_blueprint(database: Database, seal: Seal, secret_key: bytes) -> Blueprint:
    """Make the route."""
    routes = Blueprint("webhooks", __name__)

    @routes.post("/webhooks/paystack")
    def receive_event() -> Response:
        request.max_content_length = _BODY_BYTES_MAX
        raw = request.get_data(cache=False)
        given = request.headers.get("x-paystack-signature", "").encode("latin-1", "replace")
        expected = hmac.new(secret_key, raw, hashlib.sha512).hexdigest().encode()
        if not hmac.compare_digest(given, expected):
            raise RefusedError(
                ErrorCode.PAYSTACK_WEBHOOK_INVALID,
                "The signature does not fit the body.",
                field="x-paystack-signature",
            )
        with database.connection() as connection:
            is_new = webhooks.insert_webhook(
                connection,
                digest=hashlib.sha256(raw).digest(),
                body_sealed=seal.seal(raw),
                correlation_id=g.request_id,
                trace_context=g.trace_context,
            )
        return answer({"received": True, "duplicate": not is_new})

    return routes
