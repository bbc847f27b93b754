"""How one transaction looks in each answer; the field sets are those of Paystack's published samples."""

from __future__ import annotations

from sandbox.book import Book, Customer, Transaction
from sandbox.clock import iso
from sandbox.wire import Json, JsonObject

IN_PROGRESS = "Transaction in progress"
# The one merchant account this sandbox plays, as answers number it.
INTEGRATION = 463_001


def payer(customer: Customer, *, phone_key: bool) -> JsonObject:
    """Shape the customer inside another answer."""
    shape: JsonObject = {
        "id": customer.id,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "customer_code": customer.code,
        "phone": customer.phone,
        "metadata": customer.metadata,
        "risk_action": "default",
    }
    if phone_key:
        shape["international_format_phone"] = None
    return shape


def _source(entry_point: str | None = None) -> JsonObject:
    shape: JsonObject = {"type": "api", "source": "merchant_api", "identifier": None}
    if entry_point is not None:
        shape["entry_point"] = entry_point
    return shape


def _paid_at(transaction: Transaction) -> Json:
    return None if transaction.paid_at is None else iso(transaction.paid_at)


def _metadata(transaction: Transaction) -> Json:
    return "" if transaction.metadata is None else transaction.metadata


def verified(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the answer of verify."""
    created_at, paid_at = iso(transaction.created_at), _paid_at(transaction)
    return {
        "id": transaction.id,
        "domain": "test",
        "status": transaction.status,
        "reference": transaction.reference,
        "receipt_number": None,
        "amount": transaction.amount,
        "message": transaction.message,
        "gateway_response": transaction.gateway_response,
        "paid_at": paid_at,
        "created_at": created_at,
        "channel": transaction.channel,
        "currency": transaction.currency,
        "ip_address": transaction.ip_address,
        "metadata": _metadata(transaction),
        "log": transaction.log,
        "fees": transaction.fees,
        "fees_split": None,
        "authorization": transaction.authorization,
        "customer": payer(book.customers[transaction.customer_id], phone_key=True),
        "plan": None,
        "split": {},
        "order_id": None,
        "paidAt": paid_at,
        "createdAt": created_at,
        "requested_amount": transaction.requested_amount,
        "pos_transaction_data": None,
        "source": None,
        "fees_breakdown": None,
        "connect": None,
        "transaction_date": created_at,
        "plan_object": {},
        "subaccount": {},
    }


def verified_too_early(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the answer of a verify that has not heard of the payment yet."""
    return {
        **verified(book, transaction),
        "status": "ongoing",
        "gateway_response": IN_PROGRESS,
        "message": None,
        "paid_at": None,
        "paidAt": None,
        "fees": None,
        "authorization": {},
        "log": None,
    }


def fetched(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the answer of fetch: verify's, with a help-desk link and a source, without the plan object."""
    shape = verified(book, transaction)
    del shape["transaction_date"], shape["plan_object"]
    return {**shape, "helpdesk_link": None, "plan": {}, "source": _source()}


def listed(book: Book, transaction: Transaction) -> JsonObject:
    """Shape one row of the list, which lacks some of fetch's fields and nulls an absent metadata."""
    shape = fetched(book, transaction)
    del shape["receipt_number"], shape["helpdesk_link"], shape["fees_breakdown"]
    return {
        **shape,
        "metadata": transaction.metadata,
        "customer": payer(book.customers[transaction.customer_id], phone_key=False),
        "source": _source(transaction.entry_point),
    }


def charged(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the answer of a charge of a saved card, which lacks the times and the amount that was requested."""
    shape = verified(book, transaction)
    names = (
        *("amount", "currency", "transaction_date", "status", "reference", "domain", "metadata", "gateway_response"),
        *("message", "channel", "ip_address", "log", "fees", "authorization", "customer", "plan", "id"),
    )
    return {name: shape[name] for name in names}


def partly_debited(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the answer of a partial debit: a charge's, with what was requested and a plan of 0."""
    return {**charged(book, transaction), "plan": 0, "requested_amount": transaction.requested_amount}


def charge_success(book: Book, transaction: Transaction) -> JsonObject:
    """Shape the data of charge.success as deliveries of 2026 carry it."""
    authorization = transaction.authorization
    if transaction.channel == "card":
        authorization = {**authorization, "receiver_bank_account_number": None, "receiver_bank": None}
    return {
        "id": transaction.id,
        "domain": "test",
        "status": transaction.status,
        "reference": transaction.reference,
        "amount": transaction.amount,
        "message": transaction.message,
        "gateway_response": transaction.gateway_response,
        "response_code": "00",
        "gateway_response_code": "approved",
        "paid_at": _paid_at(transaction),
        "created_at": iso(transaction.created_at),
        "channel": transaction.channel,
        "currency": transaction.currency,
        "ip_address": transaction.ip_address,
        "metadata": _metadata(transaction),
        "fees_breakdown": transaction.fees_breakdown,
        "log": None,
        "fees": transaction.fees,
        "fees_split": None,
        "authorization": authorization,
        "customer": payer(book.customers[transaction.customer_id], phone_key=True),
        "plan": {},
        "subaccount": {},
        "split": {},
        "order_id": None,
        "paidAt": _paid_at(transaction),
        "requested_amount": transaction.requested_amount,
        "pos_transaction_data": None,
        "source": _source(transaction.entry_point),
    }
