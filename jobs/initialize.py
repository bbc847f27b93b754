"""Initialize payments: open a transaction at Paystack for each, and keep the address where the customer pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import payments
from db.sealing import UnsealError
from domain.errors import ErrorCode
from domain.jobs import JobKind
from domain.payment import Fact, Initialized, Payment, Source
from domain.payment import Refused as InitializationRefused
from domain.retry import Failure, FailureKind
from jobs.opening import Reading, Withheld, Work
from jobs.paystack.answers import Answer, Refused, Unknown
from jobs.paystack.client import InitializeRequest, is_unsupported_currency
from jobs.paystack.wire import charged_fact
from jobs.transactions import open_transactions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from db.connection import Connection
    from db.payments import OrderDetails
    from jobs.context import JobContext
    from jobs.paystack.client import Paystack, VerifiedTransaction
    from jobs.paystack.wire import InitializedTransaction


def initialize_payments(context: JobContext, ids: Sequence[UUID]) -> None:
    """Run the jobs with these ids as far as they are due; a second delivery of the same ids does nothing."""
    open_transactions(context, Initialization(), ids)


class Initialization:
    """Opening a transaction that the customer pays on Paystack's page."""

    kind = JobKind.INITIALIZE_PAYMENT
    source = Source.INITIALIZE

    def prepare(
        self, context: JobContext, tx: Connection, pending: Sequence[Payment]
    ) -> Mapping[UUID, InitializeRequest | Withheld | Failure]:
        """Make the request of each payment."""
        details = payments.get_order_details(tx, [payment.id for payment in pending])
        return {payment.id: _request_for(context, payment, details[payment.id]) for payment in pending}

    def send(self, paystack: Paystack, request: InitializeRequest) -> Answer[InitializedTransaction]:
        """Open the transaction."""
        return paystack.initialize(request)

    def read(self, payment: Payment, opened: InitializedTransaction) -> Reading | Unknown:
        """Keep the address where the customer pays."""
        if opened.reference != payment.reference:
            return Unknown("the answer names another reference")
        return Reading(fact=Initialized(opened.reference, opened.access_code, opened.authorization_url))

    def refused(self, refused: Refused) -> Fact:
        """Say why Paystack would not open it."""
        unsupported = is_unsupported_currency(refused)
        code = ErrorCode.CURRENCY_NOT_SUPPORTED if unsupported else ErrorCode.PAYSTACK_API_ERROR
        return InitializationRefused(code, refused.message)

    def found(self, work: Work[InitializeRequest], found: VerifiedTransaction) -> Reading:
        """Take what was paid; else its address, which cannot be had again, calls for a new transaction."""
        del work
        if found.transaction.status == "success":
            return Reading(fact=charged_fact(found.transaction, found.raw))
        return Reading(next_reference=True)


def _request_for(context: JobContext, payment: Payment, order: OrderDetails) -> InitializeRequest | Failure:
    try:
        email = context.seal.open(order.email_sealed).decode()
    except UnsealError:
        return Failure(FailureKind.TRANSIENT, "no key of ENCRYPTION_KEY opens its e-mail address")
    return InitializeRequest(
        reference=payment.reference,
        email=email,
        money=payment.money,
        channels=order.channels,
        callback_url=context.callback_url or order.callback_url,
        metadata=payment.metadata,
    )
