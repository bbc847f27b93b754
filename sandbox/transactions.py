"""The endpoints under /transaction."""

from __future__ import annotations

from typing import Literal

from sandbox import shapes
from sandbox.answers import (
    Answer,
    RefusalError,
    duplicate_reference,
    reference_not_found,
    success,
    transaction_not_found,
)
from sandbox.book import Planned, Transaction
from sandbox.cards import find_card
from sandbox.gate import Call
from sandbox.initialization import Wanted, read_wanted
from sandbox.instruments import card_instrument
from sandbox.listing import page_of, totals_of
from sandbox.payments import plan
from sandbox.world import World

EntryPoint = Literal["transaction_initialize", "charge"]


def initialize(world: World, call: Call) -> Answer:
    """Make a transaction and the address where it can be paid."""
    wanted = read_wanted(call.body, currencies=world.options.currencies)
    check_reference(world, wanted, entry_point="transaction_initialize")
    transaction = made(world, wanted, entry_point="transaction_initialize")
    world.book.add_transaction(transaction)
    _plan_autopay(world, transaction)
    return success(
        "Authorization URL created",
        {
            "authorization_url": authorization_url(world, transaction),
            "access_code": transaction.access_code,
            "reference": transaction.reference,
        },
    )


def check_reference(world: World, wanted: Wanted, *, entry_point: EntryPoint) -> None:
    """Count a call that names a reference used before, and refuse it.

    Raises:
        RefusalError: 400, whatever became of the transaction that has it.

    """
    if wanted.reference is not None and (existing := world.book.by_reference.get(wanted.reference)) is not None:
        _count(existing, entry_point)
        raise duplicate_reference()


def made(world: World, wanted: Wanted, *, entry_point: EntryPoint) -> Transaction:
    """Make a transaction, unpaid, for the caller to enter into the book; its reference is known to be free."""
    book = world.book
    transaction = Transaction(
        id=book.new_id(),
        reference=wanted.reference or book.new_reference(),
        access_code=book.new_code("", 15),
        amount=wanted.amount,
        requested_amount=wanted.amount,
        currency=wanted.currency,
        customer_id=book.customer_for(wanted.email, now_ms=world.clock.now_ms()).id,
        created_at=world.clock.now_ms(),
        channels=wanted.channels,
        metadata=wanted.metadata,
        callback_url=wanted.callback_url,
        label=wanted.label,
        entry_point=entry_point,
    )
    _count(transaction, entry_point)
    return transaction


def _count(transaction: Transaction, entry_point: EntryPoint) -> None:
    if entry_point == "charge":
        transaction.charge_calls += 1
    else:
        transaction.initialize_calls += 1


def authorization_url(world: World, transaction: Transaction) -> str:
    """Return the address of the checkout page."""
    return f"{world.options.public_url}/checkout/{transaction.access_code}"


def verify(world: World, call: Call) -> Answer:
    """Tell what became of a reference."""
    transaction = world.book.by_reference.get(call.path["reference"])
    if transaction is None:
        raise reference_not_found(world.settings.unknown_reference_status)
    transaction.verify_calls += 1
    paid_at, lag_ms = transaction.paid_at, world.settings.verify_lag_ms
    lags = paid_at is not None and world.clock.now_ms() < paid_at + lag_ms
    shape = shapes.verified_too_early if lags else shapes.verified
    return success("Verification successful", shape(world.book, transaction))


def fetch(world: World, call: Call) -> Answer:
    """Tell what became of a numeric id."""
    transaction = world.book.find(call.path["id"])
    if transaction is None or str(transaction.id) != call.path["id"]:
        raise transaction_not_found()
    return success("Transaction retrieved", shapes.fetched(world.book, transaction))


def list_transactions(world: World, call: Call) -> Answer:
    """List transactions, newest first."""
    page = page_of(world.book, call.query)
    return success("Transactions retrieved", [shapes.listed(world.book, row) for row in page.rows], meta=page.meta)


def totals(world: World, call: Call) -> Answer:
    """Add up what was taken."""
    return success("Transaction totals", totals_of(world.book, call.query))


def timeline(world: World, call: Call) -> Answer:
    """Show the history of attempts on the page."""
    transaction = world.book.find(call.path["id_or_reference"])
    if transaction is None:
        raise transaction_not_found("Transaction ID or reference is invalid")
    return success("Timeline retrieved", transaction.log)


def _plan_autopay(world: World, transaction: Transaction) -> None:
    autopay = world.settings.autopay
    if autopay is None:
        return
    card = find_card(autopay.card)
    if card is None:
        raise RefusalError(500, f"autopay names {autopay.card}, which is no test card")
    plan(
        world,
        transaction,
        Planned(
            at_ms=world.clock.now_ms() + autopay.delay_ms,
            instrument=card_instrument(card),
            gateway_response="Successful",
            decline=card.decline,
            declined_status=card.declined_status,
            amount=autopay.amount,
            currency=autopay.currency,
        ),
    )
