"""`/payment-methods`: save a method by its code, show a user's methods, choose the default, take one away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, g

from db import idempotency, methods
from db.cache import CacheKind
from db.jobs import NewJob, enqueue_jobs
from db.methods import NewMethod
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse, show
from domain.jobs import JobKind, dedupe_key
from domain.method import MethodStatus, PaymentMethod
from domain.rendering import render_method
from ingress.accepted import Accepted
from ingress.bodies import parse as parse_model
from ingress.bodies import read_body
from ingress.envelope import answer
from ingress.idempotency import fingerprint_of, idempotency_key, key_reused
from ingress.schemas import PaymentMethodRequest
from ingress.waiting import Awaited, preferred_wait

if TYPE_CHECKING:
    from uuid import UUID

    from db.cache import Cache
    from db.connection import Connection, Database
    from db.sealing import Seal
    from ingress.auth import Authenticator, Caller
    from ingress.waiting import WaitingRoom

_CHECKED = Awaited(methods.get_methods, lambda method: method.status is not MethodStatus.PENDING)


def methods_blueprint(
    database: Database, seal: Seal, authenticator: Authenticator, *, waiting_room: WaitingRoom, cache: Cache
) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("methods", __name__)

    @routes.post("/payment-methods")
    def add_method() -> Response:
        caller = authenticator.caller()
        key, seconds = idempotency_key(), preferred_wait()
        body = read_body()
        wanted = parse_model(PaymentMethodRequest, body.values)
        _let_act(caller, wanted.user_id)
        new = NewMethod(
            user_id=wanted.user_id,
            authorization_sealed=seal.seal(wanted.authorization_code.encode()),
            email_sealed=seal.seal(wanted.email.encode()),
            card_type=wanted.card_type,
        )
        method, replayed = _accept(database, new, caller=caller, key=key, fingerprint=fingerprint_of(body))
        accepted = Accepted(
            resource=method,
            subject=method.id,
            location=f"/payment-methods/{show(Prefix.PAYMENT_METHOD, method.id)}",
            awaited=_CHECKED,
            render=render_method,
            refusal=_rejection,
            replayed=replayed,
        )
        return accepted.answer(waiting_room, seconds)

    @routes.get("/payment-methods/<method_id>")
    def show_method(method_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            return answer(render_method(_visible(connection, caller, method_id)))

    @routes.get("/payment-methods/user/<path:user_id>")
    def list_methods(user_id: str) -> Response:
        caller = authenticator.caller()
        if not caller.may_read(user_id):
            raise RefusedError(
                ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not see that user's methods.", field="userId"
            )
        return answer(cache.read(CacheKind.METHODS, user_id, {}, partial(_list, database, user_id)))

    @routes.post("/payment-methods/<method_id>/default")
    def choose_default(method_id: str) -> Response:
        caller = authenticator.caller()
        with database.transaction() as tx:
            method = _locked(tx, caller, method_id)
            if method.status is not MethodStatus.ACTIVE:
                raise RefusedError(
                    ErrorCode.INVALID_PAYMENT_METHOD,
                    "Only an active method can be the default.",
                    details=f"It is {method.status.lower()}.",
                    field="paymentMethodId",
                )
            methods.set_default_method(tx, method.id, user_id=method.user_id)
            return answer(render_method(_found(tx, method.id)))

    @routes.delete("/payment-methods/<method_id>")
    def deactivate_method(method_id: str) -> Response:
        caller = authenticator.caller()
        with database.transaction() as tx:
            method = _locked(tx, caller, method_id)
            methods.deactivate_method(tx, method.id, user_id=method.user_id)
            # A code that was never checked may be somebody else's: Paystack is not told to forget it.
            if method.status is MethodStatus.ACTIVE:
                enqueue_jobs(tx, [_deactivation(method)])
            return answer(render_method(_found(tx, method.id)))

    return routes


def _list(database: Database, user_id: str) -> dict[str, Any]:
    with database.connection() as connection:
        active = methods.get_active_methods(connection, user_id)
    default = next((show(Prefix.PAYMENT_METHOD, method.id) for method in active if method.is_default), None)
    return {"paymentMethods": [render_method(method) for method in active], "defaultMethodId": default}


def _let_act(caller: Caller, user_id: str) -> None:
    if not caller.may_pay_for(user_id):
        raise RefusedError(ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not act for that user.", field="userId")


def _accept(
    database: Database, new: NewMethod, *, caller: Caller, key: str | None, fingerprint: bytes
) -> tuple[PaymentMethod, bool]:
    """Store the method, or find the one that this key made before."""
    with database.connection() as connection:
        method = methods.accept_method(
            connection,
            new=new,
            caller=caller.subject,
            key=key,
            fingerprint=fingerprint,
            correlation_id=g.request_id,
            trace_context=g.trace_context,
        )
        if method is not None:
            return method, False
        used = None if key is None else idempotency.get_idempotency_key(connection, caller=caller.subject, key=key)
        if used is None:
            raise _no_such_method()
        if used.fingerprint != fingerprint or used.payment_method_id is None:
            raise key_reused(used)
        return _found(connection, used.payment_method_id), True


def _visible(connection: Connection, caller: Caller, text: str) -> PaymentMethod:
    """Find a method that this caller may see; somebody else's is like none at all."""
    try:
        method = _found(connection, parse(Prefix.PAYMENT_METHOD, text))
    except MalformedIdError:
        raise _no_such_method() from None
    if not caller.may_read(method.user_id):
        raise _no_such_method()
    return method


def _locked(tx: Connection, caller: Caller, text: str) -> PaymentMethod:
    """Find a method that this caller may change, with its user's methods locked."""
    method = _visible(tx, caller, text)
    _let_act(caller, method.user_id)
    methods.lock_user(tx, method.user_id)
    return _found(tx, method.id)


def _found(connection: Connection, method_id: UUID) -> PaymentMethod:
    method = methods.get_methods(connection, [method_id]).get(method_id)
    if method is None:
        raise _no_such_method()
    return method


def _rejection(method: PaymentMethod) -> RefusedError | None:
    """The error that a client gets who waited for a method that cannot be charged."""
    if method.status is not MethodStatus.REJECTED or method.failure_code is None:
        return None
    return RefusedError(
        ErrorCode(method.failure_code),
        method.failure_message or "",
        details=f"{show(Prefix.PAYMENT_METHOD, method.id)} was rejected.",
        field="authorizationCode",
    )


def _deactivation(method: PaymentMethod) -> NewJob:
    return NewJob(
        kind=JobKind.DEACTIVATE_PAYMENT_METHOD,
        payload={"payment_method_id": str(method.id)},
        dedupe_key=dedupe_key(JobKind.DEACTIVATE_PAYMENT_METHOD, method.id),
        correlation_id=g.request_id,
    )


def _no_such_method() -> RefusedError:
    return RefusedError(ErrorCode.PAYMENT_METHOD_NOT_FOUND, "There is no such payment method.", field="paymentMethodId")
