"""The endpoints under /refund."""

from __future__ import annotations

from sandbox import refund_shapes, refunding
from sandbox.answers import (
    Answer,
    RefusalError,
    fully_reversed,
    insufficient_balance,
    missing,
    refund_needs_no_attention,
    refund_not_found,
    success,
    transaction_not_found,
)
from sandbox.book import Refund, Transaction
from sandbox.gate import Call
from sandbox.initialization import read_amount
from sandbox.paging import Test, by_number, matching, within
from sandbox.wire import Json, JsonObject
from sandbox.world import World

# Subunits, and how the refusal writes them. Of other currencies no minimum is known.
_MINIMUMS = {"NGN": (50_00, "NGN 50"), "GHS": (1_00, "GHS 1.00"), "USD": (1_00, "USD 1")}


def create(world: World, call: Call) -> Answer:
    """Queue a refund; asked twice it is made twice, because nothing of the caller's tells the two apart."""
    transaction = _transaction(world, call.body.get("transaction"))
    refund = refunding.begin(
        world,
        transaction,
        amount=_checked_amount(world, transaction, call.body),
        customer_note=_note(call.body.get("customer_note"), f"Refund for transaction {transaction.reference}"),
        merchant_note=_note(
            call.body.get("merchant_note"),
            f"Refund for transaction {transaction.reference} by {refund_shapes.MERCHANT_LOGIN}",
        ),
    )
    return success("Refund has been queued for processing", refund_shapes.created(world.book, refund))


def list_refunds(world: World, call: Call) -> Answer:
    """List refunds, newest first."""
    tests: list[Test[Refund]] = [*within(call.query)]
    if transaction := call.query.get("transaction"):
        # Only the numeric id finds anything; a reference gives an empty list, as at Paystack.
        tests.append(lambda row: str(row.transaction_id) == transaction)
    found = matching(reversed(world.book.refunds.values()), tests)
    page = by_number(found, call.query)
    meta = page.meta | {"failedRefundCount": sum(row.status == "failed" for row in found)}
    return success("Refunds retrieved", [refund_shapes.listed(world.book, row) for row in page.rows], meta=meta)


def fetch(world: World, call: Call) -> Answer:
    """Tell what became of a refund."""
    return success("Refund retrieved", refund_shapes.fetched(world.book, _refund(world, call)))


def retry(world: World, call: Call) -> Answer:
    """Send a refund that needs attention to the bank account given."""
    refund = _refund(world, call)
    if refund.status != "needs-attention":
        raise refund_needs_no_attention()
    account = call.body.get("refund_account_details")
    if not isinstance(account, dict):
        raise missing('"refund_account_details" is required')
    for name in ("currency", "account_number", "bank_id"):
        if not account.get(name):
            raise missing(f'"refund_account_details.{name}" is required')
    refunding.retry(world, refund)
    return success("Refund retried and has been queued for processing", refund_shapes.retried(world.book, refund))


def _transaction(world: World, named: Json) -> Transaction:
    if named is None or named == "":
        raise missing('"transaction" is required')
    found = world.book.find(str(named)) if isinstance(named, str | int) else None
    if found is None:
        raise transaction_not_found()
    if not found.paid:
        raise RefusalError(400, "Transaction has not been paid, so it cannot be refunded")
    return found


def _refund(world: World, call: Call) -> Refund:
    refund = world.book.find_refund(call.path["id"])
    if refund is None:
        raise refund_not_found()
    return refund


def _checked_amount(world: World, transaction: Transaction, body: JsonObject) -> int:
    """Read how much to refund; left out, it is the whole original amount, whatever was refunded before."""
    currency = body.get("currency")
    if currency and str(currency).upper() != transaction.currency:
        raise RefusalError(400, "Transaction currency must match refund currency")
    given = body.get("amount")
    amount = transaction.amount if given in (None, "") else read_amount(given)
    minimum, written = _MINIMUMS.get(transaction.currency, (0, ""))
    if amount < minimum:
        raise RefusalError(400, f"Cannot refund less than {written}")
    asked_before = refunding.asked_back(world.book, transaction)
    if asked_before >= transaction.amount:
        raise fully_reversed()
    if asked_before + amount > transaction.amount:
        raise RefusalError(400, "Total refund amount cannot exceed original transaction amount")
    if world.settings.refund_balance is not None and amount > world.settings.refund_balance:
        raise insufficient_balance()
    return amount


def _note(value: Json, default: str) -> str:
    return value if isinstance(value, str) and value else default
