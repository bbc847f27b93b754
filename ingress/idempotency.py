"""`Idempotency-Key`: one intention, one effect, however often its request is sent.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from flask import request

from domain.errors import ErrorCode, RefusedError
from domain.ids import Prefix, show

if TYPE_CHECKING:
    from db.idempotency import UsedKey
    from ingress.bodies import Body

_KEY_LENGTH_MAX = 255
_FIELD = "Idempotency-Key"


def idempotency_key() -> str | None:
    """Read the current request's key; None when it brings none.

    Raises:
        RefusedError: it is empty, too long, or not printable ASCII.

    """
    key = request.headers.get(_FIELD)
    if key is None:
        return None
    if not 0 < len(key) <= _KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise RefusedError(
            ErrorCode.INVALID_REQUEST,
            f"An Idempotency-Key has 1 to {_KEY_LENGTH_MAX} printable ASCII characters.",
            field=_FIELD,
        )
    return key


def fingerprint_of(body: Body) -> bytes:
    """Tell requests apart by method, path and content; every spelling of the same content has one fingerprint."""
    return hashlib.sha256(f"{request.method} {request.path}\n".encode() + body.canonical).digest()


def key_reused(used: UsedKey) -> RefusedError:
    """Refuse a key that stands for another request."""
    made = (
        (Prefix.PAYMENT, used.payment_id),
        (Prefix.REFUND, used.refund_id),
        (Prefix.PAYMENT_METHOD, used.payment_method_id),
    )
    names = [show(prefix, value) for prefix, value in made if value is not None]
    return RefusedError(
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key was used for another request.",
        details=f"It made {', '.join(names)}.",
        field=_FIELD,
    )
