"""Finding what a path names. What a caller may not see is answered like what does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import payments
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Payment
    from ingress.auth import Caller


def payment_id_of(text: str) -> UUID:
    """Read a payment's id from a path.

    Raises:
        RefusedError: no payment has such an id.

    """
    try:
        return parse(Prefix.PAYMENT, text)
    except MalformedIdError:
        raise no_such_payment() from None


def readable_payment(connection: Connection, caller: Caller, text: str) -> Payment:
    """Read the payment that a path names.

    Raises:
        RefusedError: there is none, or the caller may not see it.

    """
    payment = payments.get_payment(connection, payment_id_of(text))
    if payment is None or not caller.may_read(payment.user_id):
        raise no_such_payment()
    return payment


def no_such_payment() -> RefusedError:
    """Say that a payment does not exist, as far as this caller is concerned."""
    return RefusedError(ErrorCode.PAYMENT_NOT_FOUND, "There is no such payment.", field="paymentId")
