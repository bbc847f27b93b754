"""Keeping saved methods true to what payments teach: a card to save, a newer code for one, a code that is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import methods
from db.methods import SealedAuthorization
from db.sealing import UnsealError
from domain.errors import ErrorCode
from domain.method import is_same
from domain.payment import Charged, FactName, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from db.connection import Connection
    from db.sealing import Seal
    from domain.method import Authorization, PaymentMethod
    from domain.payment import Change, Fact, Payment


def keep_methods(tx: Connection, seal: Seal, changes: Iterable[tuple[Change, Fact]]) -> None:
    """Write what changes of payments, and the facts behind them, mean for their users' methods."""
    taught = [(change.after, fact) for change, fact in changes if _teaches(change, fact)]
    for payment, fact in sorted(taught, key=lambda pair: pair[0].user_id):
        methods.lock_user(tx, payment.user_id)
        if isinstance(fact, Charged) and fact.authorization is not None:
            _keep_charged(tx, seal, payment, fact.authorization)
        elif isinstance(fact, Refused) and payment.payment_method_id is not None:
            # Its code and its address fitted when it was saved: so the code has been taken back.
            methods.deactivate_method(
                tx, payment.payment_method_id, user_id=payment.user_id, code=fact.code, message=fact.message
            )


def _keep_charged(tx: Connection, seal: Seal, payment: Payment, authorization: Authorization) -> None:
    known = renew_same(tx, seal, payment.user_id, authorization)
    if known is None and payment.save_payment_method:
        methods.insert_active_method(tx, user_id=payment.user_id, sealed=sealed_by(seal, authorization))


def renew_same(tx: Connection, seal: Seal, user_id: str, authorization: Authorization) -> UUID | None:
    """Give the active method that holds this card or account its newest code; None when there is none.

    The user is locked.
    """
    for method in methods.get_active_methods(tx, user_id):
        if _holds(seal, method, authorization):
            methods.activate_method(tx, method.id, user_id=user_id, sealed=sealed_by(seal, authorization))
            return method.id
    return None


def sealed_by(seal: Seal, authorization: Authorization) -> SealedAuthorization:
    """Seal the secrets of an authorization for storage."""
    return SealedAuthorization(
        authorization, seal.seal(authorization.code.encode()), seal.seal(authorization.email.encode())
    )


def _teaches(change: Change, fact: Fact) -> bool:
    payment = change.after
    match change.name:
        case FactName.SUCCEEDED | FactName.DUPLICATE:
            wanted = payment.save_payment_method or payment.payment_method_id is not None
            authorization = fact.authorization if isinstance(fact, Charged) else None
            return wanted and authorization is not None and authorization.reusable
        case FactName.FAILED:
            return isinstance(fact, Refused) and fact.code is ErrorCode.PAYSTACK_AUTHORIZATION_INVALID
        case _:
            return False


def _holds(seal: Seal, method: PaymentMethod, authorization: Authorization) -> bool:
    try:
        code, email = seal.open(method.authorization_sealed).decode(), seal.open(method.email_sealed).decode()
    except UnsealError:
        return False  # nobody can tell any more what it holds
    return is_same(authorization, code=code, email=email, signature=method.signature)
