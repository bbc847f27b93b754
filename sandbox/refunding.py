"""The life of a refund: begun, under way, at its end, and what each step does to its transaction."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias

from sandbox import refund_shapes
from sandbox.book import Book, Refund, Transaction
from sandbox.world import World

Outcome: TypeAlias = Literal["processed", "failed", "needs-attention"]
OUTCOMES: tuple[Outcome, ...] = ("processed", "failed", "needs-attention")

# Paystack's test instruments whose refunds go wrong, by channel and the digits an authorization shows.
_OUTCOMES: dict[tuple[str, str], Outcome] = {
    ("card", "1803"): "failed",
    ("card", "1902"): "needs-attention",
    ("eft", "X936"): "failed",
    ("eft", "X935"): "needs-attention",
}
_FINAL = frozenset({"processed", "failed"})


def begin(world: World, transaction: Transaction, *, amount: int, customer_note: str, merchant_note: str) -> Refund:
    """Queue a refund; the card it goes back to decides how it ends."""
    now = world.clock.now_ms()
    card = (transaction.channel, str(transaction.authorization.get("last4")))
    refund = Refund(
        id=world.book.new_id(),
        transaction_id=transaction.id,
        amount=amount,
        created_at=now,
        updated_at=now,
        customer_note=customer_note,
        merchant_note=merchant_note,
        outcome=_OUTCOMES.get(card, "processed"),
    )
    world.book.add_refund(refund)
    _enter(world, refund, "pending", then_after_ms=world.settings.refund_processing_ms)
    return refund


def retry(world: World, refund: Refund) -> None:
    """Take up a refund that needed attention, now that there is an account to send it to."""
    refund.outcome = "processed"
    _enter(world, refund, "processing", then_after_ms=world.settings.refund_settling_ms)


def settle(world: World, refund: Refund, outcome: Outcome) -> bool:
    """End a refund now; one that has come to its end stays as it is, and False is returned."""
    if refund.status in _FINAL or refund.status == outcome:
        return False
    _enter(world, refund, outcome)
    return True


def resume(world: World) -> None:
    """Put the next steps of a loaded book's refunds back into the clock's queue."""
    for refund in world.book.refunds.values():
        _queue(world, refund)


def asked_back(book: Book, transaction: Transaction) -> int:
    """Add up what was refunded or is on its way back: all refunds but the failed ones."""
    return sum(refund.amount for refund in book.refunds_of(transaction) if refund.status != "failed")


def refunded(book: Book, transaction: Transaction) -> int:
    """Add up what has really gone back to the customer."""
    return sum(refund.amount for refund in book.refunds_of(transaction) if refund.status == "processed")


def _enter(world: World, refund: Refund, status: str, *, then_after_ms: int | None = None) -> None:
    """Let a refund take on a status, with everything that follows from it."""
    now = world.clock.now_ms()
    refund.status = status
    refund.updated_at = now
    refund.refunded_at = now if status == "processed" else None
    refund.next_at_ms = None if then_after_ms is None else now + then_after_ms
    transaction = world.book.transactions[refund.transaction_id]
    transaction.status = _status_of(world, transaction)
    world.book.dirty = True
    world.webhooks.emit(f"refund.{status}", refund_shapes.event(world.book, refund), reference=transaction.reference)
    _queue(world, refund)


def _status_of(world: World, transaction: Transaction) -> str:
    back, asked = refunded(world.book, transaction), asked_back(world.book, transaction)
    if back < asked:
        return "reversal-pending"
    if back >= transaction.amount:
        return "reversed"
    return world.settings.partly_refunded_status if back else "success"


def _queue(world: World, refund: Refund) -> None:
    if refund.next_at_ms is not None:
        world.clock.call_at(refund.next_at_ms, partial(_go_on, world, refund, refund.next_at_ms))


async def _go_on(world: World, refund: Refund, at_ms: int) -> None:
    # A control call may have ended it in the meantime; this step is void then.
    if refund.next_at_ms != at_ms:
        return
    if refund.status == "pending":
        _enter(world, refund, "processing", then_after_ms=world.settings.refund_settling_ms)
    else:
        _enter(world, refund, refund.outcome)
