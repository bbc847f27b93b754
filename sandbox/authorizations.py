"""The endpoints that charge a saved authorization, and the one that ends it."""

from __future__ import annotations

from collections.abc import Callable

from sandbox import shapes
from sandbox.answers import Answer, RefusalError, authorization_not_found, missing, success, told
from sandbox.book import Book, Transaction
from sandbox.charge_answers import ATTEMPTED, asked
from sandbox.charging import charge, chargeable
from sandbox.gate import Call
from sandbox.initialization import read_amount, read_wanted
from sandbox.transactions import authorization_url, check_reference, made
from sandbox.wire import JsonObject
from sandbox.world import World

_PARTLY_DEBITED = frozenset({"NGN"})
Shape = Callable[[Book, Transaction], JsonObject]


def charge_authorization(world: World, call: Call) -> Answer:
    """Charge a saved authorization. A call that is refused makes no transaction: its reference stays free."""
    wanted = read_wanted(call.body, currencies=world.options.currencies)
    check_reference(world, wanted, entry_point="charge")
    authorization = chargeable(world.book, call.body.get("authorization_code"), email=wanted.email)
    transaction = made(world, wanted, entry_point="charge")
    world.book.add_transaction(transaction)
    charge(world, transaction, authorization)
    return _attempted(world, transaction, shapes.charged)


def partial_debit(world: World, call: Call) -> Answer:
    """Charge a saved authorization with what there is, if it is at least what the call asks for."""
    wanted = read_wanted(call.body, currencies=world.options.currencies)
    if not call.body.get("currency"):
        raise missing("Currency is required")
    if wanted.currency not in _PARTLY_DEBITED:
        raise RefusalError(400, f"Currency {wanted.currency} is not supported for Partial Debit")
    at_least = read_amount(call.body.get("at_least") or 1)
    check_reference(world, wanted, entry_point="charge")
    if world.book.find_customer(wanted.email) is None:
        raise RefusalError(400, "Customer not found", code="customer_not_found")
    authorization = chargeable(world.book, call.body.get("authorization_code"), email=wanted.email)
    transaction = made(world, wanted, entry_point="charge")
    world.book.add_transaction(transaction)
    charge(world, transaction, authorization, at_least=at_least)
    return _attempted(world, transaction, shapes.partly_debited)


def deactivate(world: World, call: Call) -> Answer:
    """End an authorization: it pays no more, and what it paid before stays as it was shown."""
    code = call.body.get("authorization_code")
    found = world.book.authorizations.get(code) if isinstance(code, str) else None
    if found is None:
        raise authorization_not_found()
    found.active = False
    world.book.dirty = True
    return told("Authorization has been deactivated")


def _attempted(world: World, transaction: Transaction, shape: Shape) -> Answer:
    match transaction.page.step:
        case "bank_page":
            return success(
                "Please, redirect your customer to the authorization url provided",
                {
                    "authorization_url": authorization_url(world, transaction),
                    "reference": transaction.reference,
                    "access_code": transaction.access_code,
                    "paused": True,
                },
            )
        case "otp":
            return success(ATTEMPTED, asked(transaction))
        case _:
            return success(ATTEMPTED, shape(world.book, transaction))
