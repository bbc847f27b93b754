"""`/payments/verify`: have Paystack asked what became of a payment, and wait for its answer if the client would."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, g, request

from db import payments, verifications
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, payment_of, show
from domain.payment import PAID, PaymentStatus
from domain.rendering import render_verification
from ingress.accepted import RETRY_AFTER_SECONDS
from ingress.bodies import parse, read_body
from ingress.envelope import answer
from ingress.schemas import VerificationRequest
from ingress.waiting import Awaited, preferred_wait

if TYPE_CHECKING:
    from datetime import datetime

    from db.connection import Connection, Database
    from domain.payment import Payment
    from ingress.auth import Authenticator
    from ingress.overdue import OverdueLooks
    from ingress.waiting import WaitingRoom

FRESH_SECONDS = 30.0

_MESSAGE_OF = {
    ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND: "Paystack does not find the transaction that it had opened.",
    ErrorCode.PAYSTACK_API_ERROR: "Paystack refused to tell.",
    ErrorCode.PAYSTACK_TIMEOUT: "Paystack took the question and did not answer in time.",
    ErrorCode.GATEWAY_TIMEOUT: "Paystack could not be connected to in time.",
    ErrorCode.GATEWAY_ERROR: "Paystack could not be reached, or answered nothing usable.",
}


def verification_blueprint(
    database: Database, authenticator: Authenticator, waiting_room: WaitingRoom, overdue: OverdueLooks
) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("verification", __name__)

    @routes.get("/payments/verify")
    def verify_by_query() -> Response:
        return _verify({name: found[0] if len(found) == 1 else found for name, found in request.args.lists()})

    @routes.post("/payments/verify")
    def verify_by_body() -> Response:
        return _verify(None)

    def _verify(query: dict[str, Any] | None) -> Response:
        caller, seconds = authenticator.caller(), preferred_wait()
        wanted = parse(VerificationRequest, read_body().values if query is None else query)
        with database.connection() as connection:
            payment = find_by_reference(connection, wanted.reference)
            # Somebody else's payment is answered like none at all: its existence is nobody's business.
            if payment is None or not caller.may_read(payment.user_id):
                raise _no_such_transaction()
            if has_its_answer(payment) or (not seconds and was_seen_lately(connection, payment)):
                overdue.notice(connection, payment)
                return answer(render_verification(payment))
            asked_at = request_look(connection, payment)
        headers = {"Location": f"/payments/{show(Prefix.PAYMENT, payment.id)}"}
        if seconds:
            headers["Preference-Applied"] = f"wait={seconds}"
            seen = waiting_room.wait(looked_at_since(asked_at), payment.id, seconds)
            if seen is not None:
                return answer(render_verification(_unless_it_failed(seen)), HTTPStatus.OK, headers)
        headers["Retry-After"] = RETRY_AFTER_SECONDS
        return answer(render_verification(payment), HTTPStatus.ACCEPTED, headers)

    return routes


def find_by_reference(connection: Connection, reference: str) -> Payment | None:
    """Find the payment that a reference was made from; None if there is none, or it never had this reference.

    Raises:
        RefusedError: Payfleet makes no such references.

    """
    try:
        payment_id, sequence = payment_of(reference)
    except MalformedIdError:
        raise RefusedError(
            ErrorCode.PAYSTACK_INVALID_REFERENCE,
            "That is no reference of a payment.",
            details="Send the reference as the payment shows it: pf-…",
            field="reference",
        ) from None
    payment = payments.get_payment(connection, payment_id)
    return payment if payment is not None and sequence <= payment.reference_sequence else None


def has_its_answer(payment: Payment) -> bool:
    """Whether asking Paystack could tell nothing new: it is paid, or its customer cannot have paid yet.

    FAILED and ABANDONED are no answers: on the hosted page a customer may still succeed.
    """
    if payment.status is PaymentStatus.PENDING:
        return payment.authorization_url is None and payment.next_action is None and payment.payment_method_id is None
    return payment.status in PAID


def was_seen_lately(connection: Connection, payment: Payment) -> bool:
    """Whether the newest look is fresh enough for those who only poll: they must not use up Paystack's quota.

    Who waits has a reason to ask anew.
    """
    return verifications.was_seen_lately(connection, payment.id, seconds=FRESH_SECONDS)


def request_look(connection: Connection, payment: Payment) -> datetime:
    """Have Paystack asked on behalf of the current request; see `db.verifications.request_look`."""
    return verifications.request_look(
        connection, payment.id, correlation_id=g.request_id, trace_context=g.trace_context
    )


def looked_at_since(asked_at: datetime) -> Awaited[Payment]:
    """Wait until a payment is paid, or a look that began after the request has seen it.

    An older look will not do: it may have asked Paystack before the customer did what this request is about, and
    "not paid yet" would be wrong.
    """

    def is_ready(payment: Payment) -> bool:
        return payment.status in PAID or (payment.verified_at is not None and payment.verified_at >= asked_at)

    return Awaited(payments.get_payments, is_ready)


def _unless_it_failed(seen: Payment) -> Payment:
    """Pass on what a look saw.

    Raises:
        RefusedError: it saw nothing; the job goes on trying.

    """
    if seen.verification_error is None or seen.status in PAID:
        return seen
    code = ErrorCode(seen.verification_error)
    raise RefusedError(
        code,
        _MESSAGE_OF.get(code, "Payfleet failed to ask Paystack."),
        details="Payfleet goes on asking by itself. The payment stands as it was.",
    )


def _no_such_transaction() -> RefusedError:
    return RefusedError(
        ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND, "No transaction was opened under this reference.", field="reference"
    )
