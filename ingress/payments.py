"""`/payments`: accept a payment, show a payment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from flask import Blueprint, Response, g

from db import currencies, idempotency, methods, orders, payments
from db.clock import get_now
from db.payments import LiveOrderError, NewPayment
from domain.channels import Features, offered_channels, patience
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse, show
from domain.looks import first_look_after
from domain.method import MethodStatus
from domain.money import Money
from domain.payment import PaymentStatus
from domain.rendering import render_payment
from ingress.accepted import Accepted
from ingress.bodies import parse as parse_model
from ingress.bodies import read_body
from ingress.envelope import answer_unless_known
from ingress.idempotency import fingerprint_of, idempotency_key, key_reused
from ingress.lookup import no_such_payment, readable_payment
from ingress.schemas import PaymentRequest
from ingress.waiting import Awaited, preferred_wait

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Connection, Database
    from db.currencies import CurrencyLimits
    from db.sealing import Seal
    from domain.method import PaymentMethod
    from domain.payment import Payment
    from ingress.auth import Authenticator, Caller
    from ingress.limits import CustomerLimits
    from ingress.overdue import OverdueLooks
    from ingress.waiting import WaitingRoom


def _is_payable_or_decided(payment: Payment) -> bool:
    """Whether a new payment has come as far as its client waits for."""
    return (
        payment.authorization_url is not None
        or payment.next_action is not None
        or payment.status is not PaymentStatus.PENDING
    )


_PAYABLE = Awaited(payments.get_payments, _is_payable_or_decided)


def payments_blueprint(
    database: Database,
    seal: Seal,
    authenticator: Authenticator,
    *,
    limits: CustomerLimits,
    waiting_room: WaitingRoom,
    features: Features,
    overdue: OverdueLooks,
) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("payments", __name__)

    @routes.post("/payments")
    def create_payment() -> Response:
        caller = authenticator.caller()
        key, seconds = idempotency_key(), preferred_wait()
        body = read_body()
        wanted = parse_model(PaymentRequest, body.values)
        if not caller.may_pay_for(wanted.user_id):
            raise RefusedError(
                ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not pay for that user.", field="userId"
            )
        if caller.is_customer_only:
            limits.count_payment(caller.subject)
        payment, replayed = _accept(
            database, wanted, seal, features, caller=caller, key=key, fingerprint=fingerprint_of(body)
        )
        accepted = Accepted(
            resource=payment,
            subject=payment.id,
            location=f"/payments/{show(Prefix.PAYMENT, payment.id)}",
            awaited=_PAYABLE,
            render=render_payment,
            replayed=replayed,
        )
        return accepted.answer(waiting_room, seconds)

    @routes.get("/payments/<payment_id>")
    def show_payment(payment_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            payment = readable_payment(connection, caller, payment_id)
            overdue.notice(connection, payment)
        return answer_unless_known(render_payment(payment), version=payment.version)

    return routes


def _new_payment(connection: Connection, wanted: PaymentRequest, seal: Seal, features: Features) -> NewPayment:
    method = None if wanted.payment_method_id is None else _chosen_method(connection, wanted, wanted.payment_method_id)
    asked = wanted.wanted_channels if method is None else [method.channel]
    channels = offered_channels(wanted.currency, asked, features)
    return NewPayment(
        user_id=wanted.user_id,
        order_id=wanted.order_id,
        money=Money(wanted.amount, wanted.currency),
        email_sealed=seal.seal((wanted.email or "").encode()) if method is None else method.email_sealed,
        channels=[channel.value for channel in channels],
        callback_url=wanted.callback_url,
        metadata=wanted.metadata,
        patience=patience(wanted.currency, channels),
        first_look=first_look_after(wanted.currency, channels),
        payment_method_id=None if method is None else method.id,
        save_payment_method=wanted.save_payment_method,
    )


def _accept(
    database: Database,
    wanted: PaymentRequest,
    seal: Seal,
    features: Features,
    *,
    caller: Caller,
    key: str | None,
    fingerprint: bytes,
) -> tuple[Payment, bool]:
    """Store the payment, or find the one that this key made before."""
    with database.connection() as connection:
        try:
            new = _new_payment(connection, wanted, seal, features)
        except RefusedError:
            # What was accepted once is answered again, though today it would be refused.
            earlier = _made_before(connection, caller=caller, key=key, fingerprint=fingerprint)
            if earlier is None:
                raise
            return earlier, True
        try:
            payment = payments.accept_payment(
                connection,
                new=new,
                caller=caller.subject,
                key=key,
                fingerprint=fingerprint,
                correlation_id=g.request_id,
                trace_context=g.trace_context,
            )
        except LiveOrderError:
            raise _duplicate(orders.get_live_payment(connection, new.order_id)) from None
        if payment is not None:
            return payment, False
        earlier = _made_before(connection, caller=caller, key=key, fingerprint=fingerprint)
        if earlier is None:
            raise _outside_limits(new.money, currencies.get_currency_limits(connection, new.money.currency))
        return earlier, True


def _made_before(connection: Connection, *, caller: Caller, key: str | None, fingerprint: bytes) -> Payment | None:
    """Find the payment that this key made, if it made one."""
    used = None if key is None else idempotency.get_idempotency_key(connection, caller=caller.subject, key=key)
    if used is None:
        return None
    if used.fingerprint != fingerprint or used.payment_id is None:
        raise key_reused(used)
    payment = payments.get_payment(connection, used.payment_id)
    if payment is None:
        raise no_such_payment()
    return payment


def _chosen_method(connection: Connection, wanted: PaymentRequest, text: str) -> PaymentMethod:
    """Find the saved method to charge: the user's own, active, and not expired."""
    with contextlib.suppress(MalformedIdError):
        method_id = parse(Prefix.PAYMENT_METHOD, text)
        method = methods.get_methods(connection, [method_id]).get(method_id)
        if method is not None and method.user_id == wanted.user_id and method.status is MethodStatus.ACTIVE:
            if not method.is_expired(get_now(connection)):
                return method
            raise RefusedError(ErrorCode.INVALID_PAYMENT_METHOD, "The card has expired.", field="paymentMethodId")
    # Somebody else's method is answered like one that is not there.
    raise RefusedError(
        ErrorCode.INVALID_PAYMENT_METHOD,
        "The user has no such active payment method.",
        field="paymentMethodId",
    )


def _duplicate(live: UUID | None) -> RefusedError:
    return RefusedError(
        ErrorCode.DUPLICATE_PAYMENT,
        "This order has a payment already.",
        # Between our look and the other payment's end, the order may have become free again.
        details=show(Prefix.PAYMENT, live) if live is not None else "Send the request again.",
        field="orderId",
    )


def _outside_limits(money: Money, limits: CurrencyLimits | None) -> RefusedError:
    if limits is None:
        return RefusedError(ErrorCode.CURRENCY_NOT_SUPPORTED, f"{money.currency} is not taken.", field="currency")
    return RefusedError(
        ErrorCode.INVALID_AMOUNT,
        f"An amount in {money.currency} lies between {limits.min_amount} and {limits.max_amount}.",
        details="Amounts are in the currency's subunit: kobo, pesewas or cents.",
        field="amount",
    )
