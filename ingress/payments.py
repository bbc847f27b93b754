"""`/payments`: accept a payment, show a payment."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g, request

from db import currencies, idempotency, payments
from db.payments import NewPayment
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse, show
from domain.money import Money
from domain.rendering import render_payment
from ingress.bodies import parse as parse_model
from ingress.bodies import read_body
from ingress.envelope import answer
from ingress.schemas import PaymentRequest
from ingress.waiting import is_worth_telling, preferred_wait

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Database
    from db.currencies import CurrencyLimits
    from db.sealing import Seal
    from domain.payment import Payment
    from ingress.auth import Authenticator, Caller
    from ingress.waiting import WaitingRoom

_KEY_LENGTH_MAX = 255
_RETRY_AFTER_SECONDS = "1"


def payments_blueprint(
    database: Database, seal: Seal, authenticator: Authenticator, waiting_room: WaitingRoom
) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("payments", __name__)

    @routes.post("/payments")
    def create_payment() -> Response:
        caller = authenticator.caller()
        key, seconds = _idempotency_key(), preferred_wait()
        body = read_body()
        wanted = parse_model(PaymentRequest, body.values)
        if not caller.may_pay_for(wanted.user_id):
            raise RefusedError(
                ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not pay for that user.", field="userId"
            )
        fingerprint = hashlib.sha256(body.canonical).digest()
        payment, replayed = _accept(database, seal, caller=caller, wanted=wanted, key=key, fingerprint=fingerprint)
        return _accepted(payment, seconds, waiting_room, replayed=replayed)

    @routes.get("/payments/<payment_id>")
    def show_payment(payment_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            payment = payments.get_payment(connection, _payment_id(payment_id))
        # Somebody else's payment is answered like none at all: its existence is nobody's business.
        if payment is None or not caller.may_read(payment.user_id):
            raise _no_such_payment()
        return answer(render_payment(payment))

    return routes


def _accept(
    database: Database,
    seal: Seal,
    *,
    caller: Caller,
    wanted: PaymentRequest,
    key: str | None,
    fingerprint: bytes,
) -> tuple[Payment, bool]:
    """Store the payment, or find the one that this key made before."""
    new = NewPayment(
        user_id=wanted.user_id,
        order_id=wanted.order_id,
        money=Money(wanted.amount, wanted.currency),
        email_sealed=seal.seal(wanted.email.encode()),
        channels=[channel.value for channel in wanted.wanted_channels],
        callback_url=wanted.callback_url,
        metadata=wanted.metadata,
    )
    with database.connection() as connection:
        payment = payments.accept_payment(
            connection,
            new=new,
            caller=caller.subject,
            key=key,
            fingerprint=fingerprint,
            correlation_id=g.request_id,
            trace_context=g.trace_context,
        )
        if payment is not None:
            return payment, False
        used = None if key is None else idempotency.get_idempotency_key(connection, caller=caller.subject, key=key)
        if used is None:
            raise _outside_limits(new.money, currencies.get_currency_limits(connection, wanted.currency))
        if used.fingerprint != fingerprint:
            raise RefusedError(
                ErrorCode.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key was used with another body.",
                details=f"It made {show(Prefix.PAYMENT, used.payment_id)}.",
                field="Idempotency-Key",
            )
        earlier = payments.get_payment(connection, used.payment_id)
        if earlier is None:
            raise _no_such_payment()
        return earlier, True


def _accepted(payment: Payment, seconds: int, waiting_room: WaitingRoom, *, replayed: bool) -> Response:
    """Answer 202 at once, or 201 if the client would wait and the payment can be paid in time."""
    headers = {"Location": f"/payments/{show(Prefix.PAYMENT, payment.id)}"}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds}"
        ready = payment if is_worth_telling(payment) else waiting_room.wait(payment.id, seconds)
        if ready is not None:
            return answer(render_payment(ready), HTTPStatus.CREATED, headers)
    headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return answer(render_payment(payment), HTTPStatus.ACCEPTED, headers)


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= _KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise RefusedError(
            ErrorCode.INVALID_REQUEST,
            f"An Idempotency-Key has 1 to {_KEY_LENGTH_MAX} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key


def _payment_id(text: str) -> UUID:
    try:
        return parse(Prefix.PAYMENT, text)
    except MalformedIdError:
        raise _no_such_payment() from None


def _no_such_payment() -> RefusedError:
    return RefusedError(ErrorCode.PAYMENT_NOT_FOUND, "There is no such payment.", field="paymentId")


def _outside_limits(money: Money, limits: CurrencyLimits | None) -> RefusedError:
    if limits is None:
        return RefusedError(ErrorCode.CURRENCY_NOT_SUPPORTED, f"{money.currency} is not taken.", field="currency")
    return RefusedError(
        ErrorCode.INVALID_AMOUNT,
        f"An amount in {money.currency} lies between {limits.min_amount} and {limits.max_amount}.",
        details="Amounts are in the currency's subunit: kobo, pesewas or cents.",
        field="amount",
    )
