"""Idempotency keys: what a caller has already asked for under a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Connection

_GET = "SELECT payment_id, fingerprint FROM idempotency_keys WHERE caller = %(caller)s AND key = %(key)s"


@dataclass(frozen=True, slots=True)
class UsedKey:
    """The payment that a key made, and the fingerprint of the request that made it."""

    payment_id: UUID
    fingerprint: bytes


def get_idempotency_key(connection: Connection, *, caller: str, key: str) -> UsedKey | None:
    """Read what a caller's key stands for."""
    row = connection.execute(_GET, {"caller": caller, "key": key}).fetchone()
    return None if row is None else UsedKey(row[0], bytes(row[1]))
