"""`/payments/{paymentId}/refund` and `/refunds`: give money back, show what was given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, g

from db import idempotency, payments, refunds
from db.refunds import NewRefund
from domain.errors import ContendedError, ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse, show
from domain.payment import Source
from domain.refund import RefundStatus, refundable_amount
from domain.rendering import render_refund
from ingress.accepted import Accepted
from ingress.bodies import parse as parse_model
from ingress.bodies import read_body
from ingress.envelope import answer
from ingress.idempotency import fingerprint_of, idempotency_key, key_reused
from ingress.schemas import RefundRequest
from ingress.waiting import Awaited, preferred_wait

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Connection, Database
    from domain.refund import Refund
    from ingress.auth import Authenticator, Caller
    from ingress.waiting import WaitingRoom


def _is_taken_up(refund: Refund) -> bool:
    """Whether Paystack has answered: it has the refund, or will not have it."""
    return refund.status is not RefundStatus.PENDING


_TAKEN_UP = Awaited(refunds.get_refunds, _is_taken_up)


def refunds_blueprint(database: Database, authenticator: Authenticator, waiting_room: WaitingRoom) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("refunds", __name__)

    @routes.post("/payments/<payment_id>/refund")
    def create_refund(payment_id: str) -> Response:
        caller = authenticator.caller()
        if not caller.may_refund:
            raise RefusedError(ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not refund payments.")
        key, seconds = idempotency_key(), preferred_wait()
        body = read_body()
        wanted = parse_model(RefundRequest, body.values)
        with database.transaction() as tx:
            refund, replayed = _accept(
                tx, _payment_id(payment_id), wanted, caller=caller, key=key, fingerprint=fingerprint_of(body)
            )
        accepted = Accepted(
            resource=refund,
            subject=refund.id,
            location=f"/refunds/{show(Prefix.REFUND, refund.id)}",
            awaited=_TAKEN_UP,
            render=render_refund,
            replayed=replayed,
        )
        return accepted.answer(waiting_room, seconds)

    @routes.get("/payments/<payment_id>/refunds")
    def list_refunds(payment_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            payment = payments.get_payment(connection, _payment_id(payment_id))
            if payment is None or not caller.may_read(payment.user_id):
                raise _no_such_payment()
            found = refunds.get_refunds_of(connection, [payment.id])
        return answer(
            {
                "paymentId": show(Prefix.PAYMENT, payment.id),
                "amount": payment.money.amount,
                "currency": payment.money.currency.value,
                "refundedAmount": payment.refunded,
                "refundableAmount": payment.refundable,
                "refunds": [render_refund(refund) for refund in found],
            }
        )

    @routes.get("/refunds/<refund_id>")
    def show_refund(refund_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            refund = refunds.get_refund(connection, _refund_id(refund_id))
            payment = None if refund is None else payments.get_payment(connection, refund.payment_id)
        # Somebody else's refund is answered like none at all: its existence is nobody's business.
        if refund is None or payment is None or not caller.may_read(payment.user_id):
            raise _no_such_refund()
        return answer(render_refund(refund))

    return routes


def _accept(
    tx: Connection, payment_id: UUID, wanted: RefundRequest, *, caller: Caller, key: str | None, fingerprint: bytes
) -> tuple[Refund, bool]:
    """Store the refund, or find the one that this key made before; nobody else refunds the payment meanwhile."""
    payment = payments.lock_payments(tx, [payment_id]).get(payment_id)
    if payment is None:
        raise _no_such_payment()
    earlier = None if key is None else _made_before(tx, caller, key, fingerprint)
    if earlier is not None:
        return earlier, True
    new = NewRefund(
        amount=refundable_amount(payment, wanted.amount),
        requested_by=caller.subject,
        reason=wanted.reason,
        metadata=wanted.metadata,
    )
    refund = refunds.accept_refund(tx, payment, new, source=Source.CLIENT, correlation_id=g.request_id).after
    if key is not None:
        is_new = idempotency.claim_idempotency_key(
            tx, caller=caller.subject, key=key, fingerprint=fingerprint, refund_id=refund.id
        )
        if not is_new:
            # Taken this very moment, and not for this payment: the lock would have shown it.
            raise ContendedError(key)
    return refund, False


def _made_before(tx: Connection, caller: Caller, key: str, fingerprint: bytes) -> Refund | None:
    used = idempotency.get_idempotency_key(tx, caller=caller.subject, key=key)
    if used is None:
        return None
    if used.fingerprint != fingerprint or used.refund_id is None:
        raise key_reused(used)
    return refunds.get_refund(tx, used.refund_id)


def _payment_id(text: str) -> UUID:
    try:
        return parse(Prefix.PAYMENT, text)
    except MalformedIdError:
        raise _no_such_payment() from None


def _refund_id(text: str) -> UUID:
    try:
        return parse(Prefix.REFUND, text)
    except MalformedIdError:
        raise _no_such_refund() from None


def _no_such_payment() -> RefusedError:
    return RefusedError(ErrorCode.PAYMENT_NOT_FOUND, "There is no such payment.", field="paymentId")


def _no_such_refund() -> RefusedError:
    return RefusedError(ErrorCode.REFUND_NOT_FOUND, "There is no such refund.", field="refundId")
