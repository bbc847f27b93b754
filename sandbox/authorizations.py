"""The endpoints that charge a saved authorization, and the one that ends it."""

from __future__ import annotations

from sandbox import shapes
from sandbox.answers import Answer, success
from sandbox.book import Transaction
from sandbox.charging import charge, chargeable
from sandbox.gate import Call
from sandbox.initialization import read_wanted
from sandbox.transactions import authorization_url, check_reference, enter
from sandbox.world import World

ATTEMPTED = "Charge attempted"


def charge_authorization(world: World, call: Call) -> Answer:
    """Charge a saved authorization. A call that is refused makes no transaction: its reference stays free."""
    wanted = read_wanted(call.body, currencies=world.options.currencies)
    check_reference(world, wanted, entry_point="charge")
    authorization = chargeable(world.book, call.body.get("authorization_code"), email=wanted.email)
    transaction = enter(world, wanted, entry_point="charge")
    charge(world, transaction, authorization)
    return _attempted(world, transaction)


def _attempted(world: World, transaction: Transaction) -> Answer:
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
            return success(
                ATTEMPTED,
                {"reference": transaction.reference, "status": "send_otp", "display_text": "Please send OTP"},
            )
        case _:
            return success(ATTEMPTED, shapes.charged(world.book, transaction))
