"""Saved payment methods: added by their code or learned from a charge, one for each card or account of a user.

What depends on a user's other methods (which is the default, which holds the same card) is decided under `lock_user`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.cache import CacheKind, Stale
from domain.jobs import QUEUE_OF, JobKind
from domain.method import MethodStatus, PaymentMethod

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from db.connection import Connection
    from domain.errors import ErrorCode
    from domain.method import Authorization

# One round trip, one commit: the key, the method and the job that will check it, which bears the method's id. Nothing
# is inserted when the key is taken.
_ACCEPT = """
WITH fresh AS MATERIALIZED (
    SELECT at, payfleet_uuid7(at) AS method_id FROM (SELECT payfleet_now() AS at) AS clock
), claimed AS (
    INSERT INTO idempotency_keys (caller, key, fingerprint, payment_method_id, created_at)
    SELECT %(caller)s, %(key)s, %(fingerprint)s, method_id, at FROM fresh WHERE %(key)s::text IS NOT NULL
    ON CONFLICT (caller, key) DO NOTHING
    RETURNING payment_method_id
), accepted AS (
    INSERT INTO payment_methods (id, user_id, authorization_sealed, email_sealed, card_type, created_at, updated_at)
    SELECT method_id, %(user_id)s, %(authorization_sealed)s, %(email_sealed)s, %(card_type)s, at, at
    FROM fresh WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING *
), job AS (
    INSERT INTO jobs (id, kind, queue, payload, run_at, correlation_id, trace_context, created_at)
    SELECT id, %(job_kind)s, %(job_queue)s, jsonb_build_object('payment_method_id', id), created_at,
        %(correlation_id)s, %(trace_context)s, created_at
    FROM accepted
)
"""
_COLUMNS = """
    m.id, m.user_id, m.status, m.authorization_sealed, m.email_sealed, m.type, m.signature, m.card_type, m.card_brand,
    m.card_last4, m.card_exp_month, m.card_exp_year, m.bank_name, m.account_name, m.country_code, m.is_default,
    m.merged_into, m.failure_code, m.failure_message, m.created_at
"""
_ACCEPT_AND_RETURN = f"{_ACCEPT} SELECT {_COLUMNS} FROM accepted m"  # noqa: S608 - made of constants
_GET_MANY = f"SELECT {_COLUMNS} FROM payment_methods m WHERE m.id = ANY(%(ids)s::uuid[])"  # noqa: S608 - too
_GET_ACTIVE = f"""
SELECT {_COLUMNS} FROM payment_methods m WHERE m.user_id = %(user_id)s AND m.status = 'ACTIVE' ORDER BY m.id DESC
"""  # noqa: S608 - too
_LOCK_USER = "SELECT pg_advisory_xact_lock(hashtextextended('payment_methods ' || %(user_id)s, 0))"
_INSERT = """
INSERT INTO payment_methods (id, user_id, authorization_sealed, email_sealed, created_at, updated_at)
SELECT payfleet_uuid7(at), %(user_id)s, %(authorization_sealed)s, %(email_sealed)s, at, at
FROM (SELECT payfleet_now() AS at) AS clock
RETURNING id
"""
_RENEW = """
UPDATE payment_methods SET status = 'ACTIVE', authorization_sealed = %(authorization_sealed)s,
    email_sealed = %(email_sealed)s, type = %(type)s, signature = %(signature)s, card_type = %(card_type)s,
    card_brand = %(card_brand)s, card_last4 = %(card_last4)s, card_exp_month = %(card_exp_month)s,
    card_exp_year = %(card_exp_year)s, bank_name = %(bank_name)s, account_name = %(account_name)s,
    country_code = %(country_code)s, updated_at = payfleet_now()
WHERE id = %(id)s
"""
_MERGE = """
UPDATE payment_methods SET status = 'INACTIVE', merged_into = %(into)s, updated_at = payfleet_now() WHERE id = %(id)s
"""
_END = """
UPDATE payment_methods SET status = %(status)s, is_default = false, failure_code = %(code)s,
    failure_message = %(message)s, updated_at = payfleet_now()
WHERE id = %(id)s AND status IN ('PENDING', 'ACTIVE')
"""
_CLEAR_DEFAULT = "UPDATE payment_methods SET is_default = false WHERE user_id = %(user_id)s AND is_default"
_SET_DEFAULT = """
UPDATE payment_methods SET is_default = true, updated_at = payfleet_now() WHERE id = %(id)s AND status = 'ACTIVE'
"""
_ENSURE_DEFAULT = """
UPDATE payment_methods SET is_default = true, updated_at = payfleet_now()
WHERE id = (
    SELECT id FROM payment_methods WHERE user_id = %(user_id)s AND status = 'ACTIVE' ORDER BY id DESC LIMIT 1
) AND NOT EXISTS (SELECT FROM payment_methods WHERE user_id = %(user_id)s AND is_default)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMethod:
    """A method to accept: its code and its e-mail address sealed, Paystack not asked yet."""

    user_id: str
    authorization_sealed: bytes
    email_sealed: bytes
    card_type: str | None


@dataclass(frozen=True, slots=True)
class SealedAuthorization:
    """What Paystack says of a permission to charge, its secrets sealed for storage."""

    authorization: Authorization
    code_sealed: bytes
    email_sealed: bytes


def accept_method(
    connection: Connection,
    *,
    new: NewMethod,
    caller: str,
    key: str | None,
    fingerprint: bytes,
    correlation_id: str,
    trace_context: str | None,
) -> PaymentMethod | None:
    """Store a method that is not checked yet, with its job and its idempotency key, all or nothing.

    Returns:
        The method, or None when the caller used the key before.

    Raises:
        ContendedError: a request with the same key has been under way for too long.

    """
    parameters = {
        "user_id": new.user_id,
        "authorization_sealed": new.authorization_sealed,
        "email_sealed": new.email_sealed,
        "card_type": new.card_type,
        "caller": caller,
        "key": key,
        "fingerprint": fingerprint,
        "job_kind": JobKind.CHECK_PAYMENT_METHOD,
        "job_queue": QUEUE_OF[JobKind.CHECK_PAYMENT_METHOD],
        "correlation_id": correlation_id,
        "trace_context": trace_context,
    }
    row = connection.execute(_ACCEPT_AND_RETURN, parameters).fetchone()
    return None if row is None else _method(row)


def get_methods(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, PaymentMethod]:
    """Read methods; those that do not exist are missing from the answer."""
    return {row[0]: _method(row) for row in connection.execute(_GET_MANY, {"ids": sorted(ids)}).fetchall()}


def get_active_methods(connection: Connection, user_id: str) -> list[PaymentMethod]:
    """Read what a user can be charged with, newest first."""
    return [_method(row) for row in connection.execute(_GET_ACTIVE, {"user_id": user_id}).fetchall()]


def lock_user(tx: Connection, user_id: str) -> None:
    """Have a user's methods to oneself until the transaction ends. Several users are locked in the order of their ids.

    Raises:
        ContendedError: another transaction has held them for too long.

    """
    tx.execute(_LOCK_USER, {"user_id": user_id})
    tx.stale.add(Stale(CacheKind.METHODS, user_id))  # nobody locks them but to change them


def insert_active_method(tx: Connection, *, user_id: str, sealed: SealedAuthorization) -> None:
    """Store a method that Paystack has just charged; the user is locked."""
    parameters = {
        "user_id": user_id,
        "authorization_sealed": sealed.code_sealed,
        "email_sealed": sealed.email_sealed,
    }
    (method_id,) = tx.execute(_INSERT, parameters).fetchall()[0]
    activate_method(tx, method_id, user_id=user_id, sealed=sealed)


def activate_method(tx: Connection, method_id: UUID, *, user_id: str, sealed: SealedAuthorization) -> None:
    """Give a method what Paystack says now: its newest code, and what may be shown of it. The user is locked."""
    authorization = sealed.authorization
    parameters = {
        "id": method_id,
        "authorization_sealed": sealed.code_sealed,
        "email_sealed": sealed.email_sealed,
        "type": authorization.type,
        "signature": authorization.signature,
        "card_type": authorization.card_type,
        "card_brand": authorization.brand,
        "card_last4": authorization.last4,
        "card_exp_month": authorization.exp_month,
        "card_exp_year": authorization.exp_year,
        "bank_name": authorization.bank,
        "account_name": authorization.account_name,
        "country_code": authorization.country_code,
    }
    tx.execute(_RENEW, parameters)
    _ensure_default(tx, user_id)


def merge_method(tx: Connection, method_id: UUID, *, into: UUID) -> None:
    """Let a method that brought nothing but a newer code stand for the one that holds it."""
    tx.execute(_MERGE, {"id": method_id, "into": into})


def reject_method(tx: Connection, method_id: UUID, *, code: ErrorCode, message: str) -> None:
    """Say why a method that was added cannot be charged."""
    tx.execute(_END, {"id": method_id, "status": MethodStatus.REJECTED, "code": code, "message": message})


def deactivate_method(
    tx: Connection, method_id: UUID, *, user_id: str, code: ErrorCode | None = None, message: str | None = None
) -> None:
    """Charge a method no more, and hand on its being the default. The user is locked."""
    tx.execute(_END, {"id": method_id, "status": MethodStatus.INACTIVE, "code": code, "message": message})
    _ensure_default(tx, user_id)


def set_default_method(tx: Connection, method_id: UUID, *, user_id: str) -> None:
    """Make an active method its user's default. The user is locked."""
    tx.execute(_CLEAR_DEFAULT, {"user_id": user_id})
    tx.execute(_SET_DEFAULT, {"id": method_id})


def _ensure_default(tx: Connection, user_id: str) -> None:
    """Keep the rule that a user with active methods has a default: the newest, where none was chosen."""
    tx.execute(_ENSURE_DEFAULT, {"user_id": user_id})


def _method(row: tuple[Any, ...]) -> PaymentMethod:
    return PaymentMethod(
        id=row[0],
        user_id=row[1],
        status=MethodStatus(row[2]),
        authorization_sealed=bytes(row[3]),
        email_sealed=bytes(row[4]),
        type=row[5],
        signature=row[6],
        card_type=row[7],
        card_brand=row[8],
        card_last4=row[9],
        card_exp_month=row[10],
        card_exp_year=row[11],
        bank_name=row[12],
        account_name=row[13],
        country_code=row[14],
        is_default=row[15],
        merged_into=row[16],
        failure_code=row[17],
        failure_message=row[18],
        created_at=row[19],
    )
