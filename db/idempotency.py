"""Idempotency keys: what a caller has already asked for under a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Connection

_GET = """
SELECT fingerprint, payment_id, refund_id, payment_method_id FROM idempotency_keys
WHERE caller = %(caller)s AND key = %(key)s
"""
_CLAIM = """
INSERT INTO idempotency_keys (caller, key, fingerprint, refund_id, payment_method_id, created_at)
VALUES (%(caller)s, %(key)s, %(fingerprint)s, %(refund_id)s, %(payment_method_id)s, payfleet_now())
ON CONFLICT (caller, key) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class UsedKey:
    """What a key made, and the fingerprint of the request that made it."""

    fingerprint: bytes
    payment_id: UUID | None
    refund_id: UUID | None
    payment_method_id: UUID | None


def get_idempotency_key(connection: Connection, *, caller: str, key: str) -> UsedKey | None:
    """Read what a caller's key stands for."""
    row = connection.execute(_GET, {"caller": caller, "key": key}).fetchone()
    return None if row is None else UsedKey(bytes(row[0]), *row[1:])


def claim_idempotency_key(
    tx: Connection,
    *,
    caller: str,
    key: str,
    fingerprint: bytes,
    refund_id: UUID | None = None,
    payment_method_id: UUID | None = None,
) -> bool:
    """Let a key stand for what this transaction is about to make; False when the caller used it before.

    Payments claim theirs in the statement that stores them (`db.payments.accept_payment`).

    Raises:
        ContendedError: a request with the same key has been under way for too long.

    """
    parameters = {
        "caller": caller,
        "key": key,
        "fingerprint": fingerprint,
        "refund_id": refund_id,
        "payment_method_id": payment_method_id,
    }
    return tx.execute(_CLAIM, parameters).rowcount == 1
