"""The endpoints under /charge: a payment without the checkout page, by the very steps of that page."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.answers import Answer, RefusalError, charge_not_found, missing
from sandbox.book import Transaction
from sandbox.channels import playable
from sandbox.charge_answers import attempted, checked
from sandbox.charging import charge, chargeable
from sandbox.gate import Call, Endpoint
from sandbox.initialization import read_wanted
from sandbox.steps import Form, FormProblemError, take
from sandbox.transactions import check_reference, made
from sandbox.wire import JsonObject
from sandbox.world import World

# What a step asks for that the first call may bring along.
_BROUGHT_ALONG = ("pin", "birthday")


def create(world: World, call: Call) -> Answer:
    """Charge the instrument that the body names. A call that is refused makes no transaction."""
    if not call.body.get("email"):
        raise missing("Email address is required for association with card")
    wanted = read_wanted(call.body, currencies=world.options.currencies)
    check_reference(world, wanted, entry_point="charge")
    transaction = made(world, wanted, entry_point="charge")
    transaction.page.one_try = True
    code = call.body.get("authorization_code")
    if code:
        charge(world, transaction, chargeable(world.book, code, email=wanted.email))
    else:
        channel, form = _instrument(call.body)
        if channel not in playable(wanted.currency, []):
            raise RefusalError(400, "No active channel", code="no_active_channel")
        transaction.channels = [channel]
        _begin(world, transaction, channel, form)
        _bring_along(world, transaction, call.body)
    world.book.add_transaction(transaction)
    answer = attempted(world, transaction, account_expires_at=_expiry(call.body))
    # Nobody will come and say that the money was sent: it just arrives.
    take(world, transaction, "sent", {})
    return answer


def submit(step: str, *fields: str) -> Endpoint:
    """Make the endpoint that takes what one step asked the customer for: its fields, or one of its own name."""

    def taken(world: World, call: Call) -> Answer:
        transaction = _found(world, _text(call.body, "reference"))
        if transaction.page.step != step or transaction.paid:
            raise charge_not_found()
        _take(world, transaction, step, {name: _text(call.body, name) for name in fields or (step,)})
        return attempted(world, transaction)

    return taken


def check(world: World, call: Call) -> Answer:
    """Tell where a charge stands."""
    return checked(world, _found(world, call.path["reference"]))


def _found(world: World, reference: str) -> Transaction:
    transaction = world.book.by_reference.get(reference)
    if transaction is None or transaction.entry_point != "charge":
        raise charge_not_found()
    return transaction


def _instrument(body: JsonObject) -> tuple[str, Form]:
    """Read what to charge as the form of the checkout page that stands for it."""
    for name, read in _INSTRUMENTS.items():
        given = body.get(name)
        if isinstance(given, dict):
            return name, read(given)
    raise RefusalError(
        400,
        "One of Authorization code, card object, bank object, ussd object, mobile money object, qr object, or EFT"
        " object should be passed.",
        code="missing_params",
    )


def _card(given: JsonObject) -> Form:
    expiry = f"{_text(given, 'expiry_month'):0>2}/{_text(given, 'expiry_year')}"
    return {"number": _text(given, "number"), "cvv": _text(given, "cvv"), "expiry": expiry}


def _bank(given: JsonObject) -> Form:
    return {"account": _text(given, "account_number")}


def _ussd(given: JsonObject) -> Form:
    return {"bank": _text(given, "type")}


def _mobile_money(given: JsonObject) -> Form:
    return {"provider": _text(given, "provider"), "phone": _text(given, "phone")}


def _nothing(_given: JsonObject) -> Form:
    return {}


_INSTRUMENTS: dict[str, Callable[[JsonObject], Form]] = {
    "card": _card,
    "bank": _bank,
    "ussd": _ussd,
    "mobile_money": _mobile_money,
    "qr": _nothing,
    "eft": _nothing,
    "bank_transfer": _nothing,
}


def _begin(world: World, transaction: Transaction, channel: str, form: Form) -> None:
    if channel == "eft":
        # The customer names the account on the page that the answer leads to.
        transaction.channel = transaction.page.channel = channel
    else:
        _take(world, transaction, channel, form)


def _bring_along(world: World, transaction: Transaction, body: JsonObject) -> None:
    for step in _BROUGHT_ALONG:
        if transaction.page.step == step and (given := _text(body, step)):
            _take(world, transaction, step, {step: given})


def _take(world: World, transaction: Transaction, action: str, form: Form) -> None:
    try:
        take(world, transaction, action, form)
    except FormProblemError as problem:
        raise RefusalError(400, str(problem)) from problem


def _expiry(body: JsonObject) -> str | None:
    given = body.get("bank_transfer")
    return _text(given, "account_expires_at") or None if isinstance(given, dict) else None


def _text(given: JsonObject, name: str) -> str:
    """Read a text; numbers are none, because Paystack itself breaks over a card number sent as one."""
    value = given.get(name)
    return value if isinstance(value, str) else ""
