"""Charge saved methods: open a transaction at Paystack with a stored code, and apply what came of it at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from db import methods, payments
from db.clock import get_now
from db.sealing import UnsealError
from domain.errors import ErrorCode
from domain.jobs import JobKind
from domain.method import MethodStatus, PaymentMethod
from domain.payment import Charged, Fact, InProgress, NotPaid, Payment, Source
from domain.payment import Refused as ChargeRefused
from domain.retry import Failure, FailureKind
from jobs.opening import Reading, Withheld, Work
from jobs.paystack.answers import Answer, Refused, Unknown
from jobs.paystack.client import ChargeRequest, is_invalid_authorization, is_unsupported_currency
from jobs.paystack.wire import IN_PROGRESS, Transaction, fact_of
from jobs.transactions import open_transactions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from db.connection import Connection
    from db.payments import OrderDetails
    from jobs.context import JobContext
    from jobs.paystack.authorizations import AttemptedCharge
    from jobs.paystack.client import Paystack, VerifiedTransaction

# "Abandoned" is what Paystack shows of a charge it is still busy with, too. Only after this time is it taken for one
# that waits for a customer, who cannot be sent to it any more: charging anew before would risk charging twice.
SETTLES_WITHIN = timedelta(minutes=5)

_LOOK_AGAIN_SECONDS = 30.0


def charge_payment_methods(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    open_transactions(context, Charging(), ids)


class Charging:
    """Opening a transaction that is paid with a saved method, without the customer if its bank lets us."""

    kind = JobKind.CHARGE_PAYMENT_METHOD
    source = Source.CHARGE

    def prepare(
        self, context: JobContext, tx: Connection, pending: Sequence[Payment]
    ) -> Mapping[UUID, ChargeRequest | Withheld | Failure]:
        """Make the request of each payment, unless its time is over or its method is gone."""
        now = get_now(tx)
        details = payments.get_order_details(tx, [payment.id for payment in pending])
        found = methods.get_methods(tx, {p.payment_method_id for p in pending if p.payment_method_id is not None})
        return {p.id: _request_for(context, p, details[p.id], found, now) for p in pending}

    def send(self, paystack: Paystack, request: ChargeRequest) -> Answer[AttemptedCharge]:
        """Charge."""
        return paystack.charge_authorization(request)

    def read(self, payment: Payment, opened: AttemptedCharge) -> Reading | Unknown:
        """Read what the charge came to: that the call worked says nothing yet."""
        attempt = opened.attempt
        if attempt.reference != payment.reference:
            return Unknown("the answer names another reference")
        if attempt.challenge is not None:
            return Reading(fact=attempt.challenge)
        if attempt.status in IN_PROGRESS:
            return Reading(fact=InProgress(attempt.reference), verify_later=True)
        try:
            transaction = Transaction.model_validate(opened.raw)
        except ValidationError:
            return Unknown("the answer lacks what it should have")
        fact = fact_of(transaction, opened.raw, expired=False)
        if isinstance(fact, Charged) and transaction.requested_amount is None and fact.asked != payment.money.amount:
            # Where customers bear the fees, this answer shows the sum of both; verify tells them apart.
            return Unknown("the answer does not say what was asked of the customer")
        return _reading_of(fact)

    def refused(self, refused: Refused) -> Fact:
        """Say why Paystack would not charge; it has made no transaction."""
        if is_invalid_authorization(refused):
            code = ErrorCode.PAYSTACK_AUTHORIZATION_INVALID
        elif is_unsupported_currency(refused):
            code = ErrorCode.CURRENCY_NOT_SUPPORTED
        else:
            code = ErrorCode.PAYSTACK_API_ERROR
        return ChargeRefused(code, refused.message)

    def found(self, work: Work[ChargeRequest], found: VerifiedTransaction) -> Reading:
        """Take what it came to; one that waits for its customer, who cannot be sent to it any more, is made anew."""
        fact = fact_of(found.transaction, found.raw, expired=False)
        if not isinstance(fact, NotPaid):
            return _reading_of(fact)
        if work.unknown_for is None or work.unknown_for < SETTLES_WITHIN:
            error = "Paystack has the charge on record, and not its outcome"
            return Reading(failure=Failure(FailureKind.UNAVAILABLE, error, _LOOK_AGAIN_SECONDS))
        return Reading(next_reference=True)


def _request_for(
    context: JobContext, payment: Payment, order: OrderDetails, found: Mapping[UUID, PaymentMethod], now: datetime
) -> ChargeRequest | Withheld | Failure:
    if payment.expires_at is not None and now >= payment.expires_at:
        return Withheld(NotPaid(payment.reference, expired=True))
    method = None if payment.payment_method_id is None else found.get(payment.payment_method_id)
    if method is None or method.status is not MethodStatus.ACTIVE:
        return Withheld(ChargeRefused(ErrorCode.INVALID_PAYMENT_METHOD, "The saved method is no longer active."))
    try:
        email = context.seal.open(method.email_sealed).decode()
        code = context.seal.open(method.authorization_sealed).decode()
    except UnsealError:
        return Failure(FailureKind.TRANSIENT, "no key of ENCRYPTION_KEY opens its payment method")
    return ChargeRequest(
        reference=payment.reference,
        email=email,
        authorization_code=code,
        money=payment.money,
        callback_url=context.callback_url or order.callback_url,
        metadata=payment.metadata,
    )


def _reading_of(fact: Fact | None) -> Reading:
    """Go on with a fact; one that is not the last word, or means nothing to us, is looked after later."""
    return Reading(fact=fact, verify_later=fact is None or isinstance(fact, InProgress | NotPaid))
