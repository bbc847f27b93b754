"""How one refund looks in each answer and event; the field sets are Paystack's published ones, joined."""

from __future__ import annotations

from sandbox.book import Book, Customer, Refund, Transaction
from sandbox.clock import iso
from sandbox.shapes import INTEGRATION, payer
from sandbox.wire import Json, JsonObject

MERCHANT_LOGIN = "sandbox@example.com"
_DAY_MS = 86_400_000
_EXPECTED_AFTER_MS = 9 * _DAY_MS


def created(book: Book, refund: Refund) -> JsonObject:
    """Shape the answer of create, the only one with the transaction as an object."""
    transaction = book.transactions[refund.transaction_id]
    return {
        "transaction": _transaction(transaction),
        "integration": INTEGRATION,
        "deducted_amount": 0,
        "channel": None,
        "merchant_note": refund.merchant_note,
        "customer_note": refund.customer_note,
        "status": refund.status,
        "refunded_by": MERCHANT_LOGIN,
        "expected_at": iso(refund.created_at + _EXPECTED_AFTER_MS),
        "currency": transaction.currency,
        "domain": "test",
        "amount": refund.amount,
        "fully_deducted": False,
        "id": refund.id,
        "createdAt": iso(refund.created_at),
        "updatedAt": iso(refund.updated_at),
    }


def fetched(book: Book, refund: Refund) -> JsonObject:
    """Shape the answer of fetch, where the transaction is its number."""
    transaction = book.transactions[refund.transaction_id]
    return {
        **_known(transaction, refund),
        "dispute": None,
        "settlement": None,
        "fully_deducted": _deducted(refund) > 0,
        "bank_reference": _bank_reference(refund),
        "transaction_reference": transaction.reference,
        "reason": refund.status.upper(),
        "customer": payer(book.customers[transaction.customer_id], phone_key=True),
        "refund_type": "partial" if refund.amount < transaction.amount else "full",
        "transaction_amount": transaction.amount,
        "initiated_by": MERCHANT_LOGIN,
        "refund_channel": _processor(transaction),
        "session_id": None,
        "collect_account_number": refund.status == "needs-attention",
        "createdAt": iso(refund.created_at),
        "updatedAt": iso(refund.updated_at),
    }


def listed(book: Book, refund: Refund) -> JsonObject:
    """Shape one row of the list: deducted as a number, and the dates in either spelling."""
    shape = fetched(book, refund)
    return {
        **shape,
        "fully_deducted": int(_deducted(refund) > 0),
        "created_at": shape["createdAt"],
        "updated_at": shape["updatedAt"],
    }


def retried(book: Book, refund: Refund) -> JsonObject:
    """Shape the answer of a retry with the customer's bank account."""
    return {
        **_known(book.transactions[refund.transaction_id], refund),
        "dispute": None,
        "settlement": None,
        "fully_deducted": _deducted(refund) > 0,
        "bank_reference": None,
        "reason": refund.status.upper(),
        "customer": None,
        "initiated_by": MERCHANT_LOGIN,
        "reversed_at": None,
        "session_id": None,
    }


def event(book: Book, refund: Refund) -> JsonObject:
    """Shape the data of refund.*: which refund it is about, only needs-attention tells."""
    transaction = book.transactions[refund.transaction_id]
    shape: JsonObject = {
        "status": refund.status,
        "transaction_reference": transaction.reference,
        "refund_reference": _bank_reference(refund),
        # A text while all goes well and a number when it does not: the published deliveries differ so.
        "amount": refund.amount if refund.status in {"failed", "needs-attention"} else str(refund.amount),
        "currency": transaction.currency,
        "processor": _processor(transaction),
        "customer": _named(book.customers[transaction.customer_id]),
        "integration": INTEGRATION,
        "domain": "test",
    }
    if refund.status == "needs-attention":
        del shape["processor"]
        shape |= {
            "id": str(refund.id),
            "customer_note": refund.customer_note,
            "merchant_note": refund.merchant_note,
        }
    return shape


def _known(transaction: Transaction, refund: Refund) -> JsonObject:
    return {
        "integration": INTEGRATION,
        "transaction": transaction.id,
        "id": refund.id,
        "domain": "test",
        "currency": transaction.currency,
        "amount": refund.amount,
        "status": refund.status,
        "refunded_at": None if refund.refunded_at is None else iso(refund.refunded_at),
        "expected_at": iso(refund.created_at + _EXPECTED_AFTER_MS),
        "channel": _processor(transaction),
        "refunded_by": MERCHANT_LOGIN,
        "customer_note": refund.customer_note,
        "merchant_note": refund.merchant_note,
        "deducted_amount": _deducted(refund),
    }


def _transaction(transaction: Transaction) -> JsonObject:
    paid_at: Json = None if transaction.paid_at is None else iso(transaction.paid_at)
    return {
        "id": transaction.id,
        "domain": "test",
        "reference": transaction.reference,
        "amount": transaction.amount,
        "paid_at": paid_at,
        "channel": transaction.channel,
        "currency": transaction.currency,
        "authorization": {"exp_month": None, "exp_year": None, "account_name": None},
        "customer": {"international_format_phone": None},
        "plan": {},
        "subaccount": {"currency": None},
        "split": {},
        "order_id": None,
        "paidAt": paid_at,
        "pos_transaction_data": None,
        "source": None,
        "fees_breakdown": None,
    }


def _named(customer: Customer) -> JsonObject:
    return {"first_name": customer.first_name, "last_name": customer.last_name, "email": customer.email}


def _deducted(refund: Refund) -> int:
    """Return what the merchant has paid for it so far: nothing while pending, nothing any more once failed."""
    return 0 if refund.status in {"pending", "failed"} else refund.amount


def _processor(transaction: Transaction) -> str:
    return "migs" if transaction.channel == "card" else "instant-transfer"


def _bank_reference(refund: Refund) -> str | None:
    match refund.status:
        case "processed":
            return f"{refund.id:012d}"
        case "failed" | "needs-attention":
            return f"TRF_{refund.id:015d}"
        case _:
            return None
