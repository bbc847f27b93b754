"""What happens to a transaction: paid, declined, or planned to be; each with its traces in book and log."""

from __future__ import annotations

from functools import partial

from sandbox import shapes
from sandbox.book import Planned, Transaction
from sandbox.channels import country
from sandbox.fees import fees_for
from sandbox.instruments import authorization
from sandbox.wire import JsonObject
from sandbox.world import World

# Channels where the money moves outside the page; Paystack's answers tell them by this message.
_OFFLINE = frozenset({"bank_transfer", "ussd", "qr", "mobile_money"})


def pay(
    world: World,
    transaction: Transaction,
    instrument: JsonObject,
    *,
    gateway_response: str = "Successful",
    amount: int | None = None,
    currency: str | None = None,
) -> bool:
    """Pay a transaction and send charge.success; a second payment of it does nothing and returns False.

    ``amount`` (subunits) and ``currency`` let a test forge a payment that differs from what was asked.
    """
    if transaction.paid:
        return False
    channel = str(instrument["channel"])
    if amount is not None:
        transaction.amount = amount
    if currency is not None:
        transaction.currency = currency
    fees = fees_for(transaction.amount, transaction.currency, channel)
    transaction.status = "success"
    transaction.gateway_response = gateway_response
    transaction.message = "madePayment" if channel in _OFFLINE else None
    transaction.channel = channel
    transaction.paid_at = world.clock.now_ms()
    transaction.fees = fees.total
    if channel in {"bank_transfer", "qr"}:
        transaction.fees_breakdown = {"amount": str(fees.before_tax), "formula": None, "type": "paystack"}
    transaction.authorization = authorization(
        world.book,
        instrument,
        customer=world.book.customers[transaction.customer_id],
        country_code=country(transaction.currency),
    )
    transaction.planned = None
    write_log(world, transaction, "success", f"Successfully paid with {channel}")
    world.book.dirty = True
    world.webhooks.emit(
        "charge.success", shapes.charge_success(world.book, transaction), reference=transaction.reference
    )
    return True


def decline(world: World, transaction: Transaction, reason: str, *, status: str, message: str | None = None) -> bool:
    """Record a payment that did not happen; neither failed nor abandoned keeps the customer from retrying.

    A paid transaction stays paid: then nothing happens and False is returned. No webhook tells of it.
    """
    if transaction.paid:
        return False
    transaction.status = status
    transaction.gateway_response = reason
    transaction.message = message
    transaction.planned = None
    transaction.page.end_try()
    write_log(world, transaction, "error", f"Error: {reason}")
    world.book.dirty = True
    return True


def plan(world: World, transaction: Transaction, planned: Planned) -> None:
    """Let a payment happen by itself at its instant; a newer plan replaces it."""
    transaction.planned = planned
    world.book.dirty = True
    world.clock.call_at(planned.at_ms, partial(_carry_out, world, transaction, planned))


def resume(world: World) -> None:
    """Put the plans of a loaded book back into the clock's queue."""
    for transaction in world.book.transactions.values():
        if transaction.planned is not None:
            plan(world, transaction, transaction.planned)


async def _carry_out(world: World, transaction: Transaction, planned: Planned) -> None:
    if transaction.planned is not planned:
        return
    if planned.decline is not None:
        decline(world, transaction, planned.decline, status=planned.declined_status)
        return
    pay(
        world,
        transaction,
        planned.instrument,
        gateway_response=planned.gateway_response,
        amount=planned.amount,
        currency=planned.currency,
    )


def start_log(world: World, transaction: Transaction, *, mobile: bool) -> None:
    """Begin the page's history when the customer first sees it."""
    if transaction.log is None:
        transaction.log = {
            "start_time": world.clock.now_ms() // 1000,
            "time_spent": 0,
            "attempts": 0,
            "errors": 0,
            "success": False,
            "mobile": mobile,
            "input": [],
            "history": [],
        }
        world.book.dirty = True


def write_log(world: World, transaction: Transaction, kind: str, message: str) -> None:
    """Add to the page's history, with the seconds since it was opened; without a page there is none.

    ``kind`` is action (an attempt), input, auth, error or success.
    """
    log = transaction.log
    if log is None:
        return
    history, start = log["history"], log["start_time"]
    if not isinstance(history, list) or not isinstance(start, int):
        return
    seconds = max(0, world.clock.now_ms() // 1000 - start)
    history.append({"type": kind, "message": message, "time": seconds})
    log["time_spent"] = seconds
    counted = {"action": "attempts", "error": "errors"}.get(kind)
    count = log.get(counted) if counted else None
    if counted and isinstance(count, int):
        log[counted] = count + 1
    if kind == "success":
        log["success"] = True
