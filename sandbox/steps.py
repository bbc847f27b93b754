"""The steps of a payment on the checkout page: what each form does to the transaction.

Every function here does its work at once. A form that cannot be taken as it is raises a FormProblemError and
changes nothing; a decline is an outcome: the customer is back at the choice of a way to pay, and told why,
or at the end where there is only one try.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sandbox.book import Planned, Transaction
from sandbox.cards import (
    ADDRESS_FIELDS,
    BANK_REFUSED,
    INCORRECT_OTP,
    INCORRECT_PIN,
    PHONE_DIGITS_MIN,
    TEST_OTP,
    UNKNOWN_CARD,
    find_card,
)
from sandbox.channels import playable
from sandbox.instruments import account_instrument, card_instrument
from sandbox.payments import decline, pay, plan, write_log
from sandbox.shapes import IN_PROGRESS
from sandbox.wire import JsonObject
from sandbox.world import World

# How long money sent outside the page takes to be noticed, on the sandbox's clock.
ARRIVAL_MS = 5_000

TEST_BANK, TEST_BANK_ACCOUNT = "Zenith Bank", "0000000000"
EFT_ACCOUNTS = ("1012204936", "1012204935")
USSD_CODES = {
    "737": "Guaranty Trust Bank",
    "919": "United Bank For Africa",
    "822": "Sterling Bank",
    "966": "Zenith Bank",
}
PROVIDERS: dict[str, dict[str, str]] = {
    "GHS": {"mtn": "MTN Mobile Money", "vod": "Telecel Cash", "atl": "AirtelTigo Money"},
    "KES": {"mpesa": "M-PESA"},
    "XOF": {"orange": "Orange Money"},
}
# The number that pays, by provider: compared by its last nine digits, so that +233, 233 and 0 all do.
_WALLETS = {
    "mtn": "551234987",
    "vod": "551234987",
    "atl": "551234987",
    "mpesa": "710000000",
    "orange": "700000000",
}
_ORANGE_OTP = "1234"

_EXPIRY = re.compile(r"(0[1-9]|1[0-2])\s*/?\s*(?:20)?(\d\d)", re.ASCII)
_CARD_NUMBER = re.compile(r"\d{12,19}", re.ASCII)
_CVV = re.compile(r"\d{3,4}", re.ASCII)
_NOT_COMPLETED = "The transaction was not completed"

Form = Mapping[str, str]
Taken = Callable[[World, Transaction, Form], None]


class FormProblemError(ValueError):
    """A field has to be filled differently before the step can be taken."""

    def __init__(self, field: str, message: str) -> None:
        """Name the field and say what to do."""
        super().__init__(message)
        self.field = field


def take(world: World, transaction: Transaction, action: str, form: Form) -> None:
    """Carry out what a form asks for; an action that does not fit the step shown changes nothing.

    Raises:
        FormProblemError: if the form has to be filled differently.

    """
    steps, taken = ACTIONS.get(action, ((), _restart))
    page = transaction.page
    if page.step not in steps or transaction.paid:
        return
    if action in playable(transaction.currency, transaction.channels) or action not in _CHANNEL_ACTIONS:
        page.error = None
        page.cancelled = False
        taken(world, transaction, form)
        page.turn += 1
        world.book.dirty = True


def _card(world: World, transaction: Transaction, form: Form) -> None:
    number = re.sub(r"[\s-]", "", form.get("number", ""))
    expiry = _EXPIRY.fullmatch(form.get("expiry", "").strip())
    cvv = form.get("cvv", "").strip()
    if not _CARD_NUMBER.fullmatch(number):
        raise FormProblemError("number", "Enter the number on the card, 12 to 19 digits.")
    if expiry is None:
        raise FormProblemError("expiry", "Enter the expiry date as MM / YY.")
    if not _CVV.fullmatch(cvv):
        raise FormProblemError("cvv", "Enter the 3 or 4 digits of the CVV.")
    write_log(world, transaction, "input", "Filled these fields: card number, card expiry, card cvv")
    begin(world, transaction, "card")
    month, year = expiry[1], f"20{expiry[2]}"
    today = datetime.fromtimestamp(world.clock.now_ms() // 1000, UTC)
    card = find_card(number)
    if card is None or (card.cvv and card.cvv != cvv):
        # Nothing of a card that is no test card is kept: somebody may have typed a real one.
        _decline(world, transaction, UNKNOWN_CARD, status="abandoned")
    elif (int(year), int(month)) < (today.year, today.month):
        _decline(world, transaction, "Expired card", status="abandoned")
    else:
        ask(world, transaction, card_instrument(card, month=month, year=year), list(card.steps))


def _pin(world: World, transaction: Transaction, form: Form) -> None:
    pin = form.get("pin", "").strip()
    if not re.fullmatch(r"\d{4}", pin, re.ASCII):
        raise FormProblemError("pin", "Enter the 4 digits of the PIN.")
    card = find_card(str(transaction.page.instrument.get("number")))
    if card is None or pin != card.pin:
        _decline(world, transaction, INCORRECT_PIN, status="failed")
    else:
        _next(world, transaction)


def _phone(world: World, transaction: Transaction, form: Form) -> None:
    if len(re.sub(r"\D", "", form.get("phone", ""))) < PHONE_DIGITS_MIN:
        raise FormProblemError("phone", "Enter a mobile number of at least 10 digits.")
    _next(world, transaction)


def _otp(world: World, transaction: Transaction, form: Form) -> None:
    otp = form.get("otp", "").strip()
    if not otp:
        raise FormProblemError("otp", "Enter the one-time password.")
    expected = _ORANGE_OTP if transaction.page.channel == "mobile_money" else TEST_OTP
    if otp != expected:
        _decline(world, transaction, INCORRECT_OTP, status="failed")
    else:
        _next(world, transaction)


def _address(world: World, transaction: Transaction, form: Form) -> None:
    for name in ADDRESS_FIELDS:
        if not form.get(name, "").strip():
            raise FormProblemError(name, f"Enter the {name.replace('_', ' ')} that the card's bank has.")
    _next(world, transaction)


def _bank_page(world: World, transaction: Transaction, form: Form) -> None:
    if form.get("outcome") == "success":
        _next(world, transaction)
    else:
        _decline(world, transaction, BANK_REFUSED, status="failed")


def _bank(world: World, transaction: Transaction, form: Form) -> None:
    account = re.sub(r"\s", "", form.get("account", ""))
    if not re.fullmatch(r"\d{10}", account, re.ASCII):
        raise FormProblemError("account", "Enter the 10 digits of the account number.")
    begin(world, transaction, "bank")
    if account != TEST_BANK_ACCOUNT:
        _decline(world, transaction, "Invalid account number", status="abandoned")
    else:
        instrument = account_instrument("bank", bank=TEST_BANK, account=account)
        ask(world, transaction, instrument, ["birthday", "otp"])


def _birthday(world: World, transaction: Transaction, form: Form) -> None:
    try:
        datetime.strptime(form.get("birthday", ""), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormProblemError("birthday", "Enter the date of birth.") from error
    _next(world, transaction)


def _eft(world: World, transaction: Transaction, form: Form) -> None:
    account = re.sub(r"\s", "", form.get("account", ""))
    if not re.fullmatch(r"\d{7,11}", account, re.ASCII):
        raise FormProblemError("account", "Enter the account number, 7 to 11 digits.")
    begin(world, transaction, "eft")
    if account not in EFT_ACCOUNTS:
        _decline(world, transaction, "Invalid account number", status="abandoned")
    else:
        instrument = account_instrument("eft", bank="Ozow EFT", account=account)
        ask(world, transaction, instrument, ["bank_page"])


def _mobile_money(world: World, transaction: Transaction, form: Form) -> None:
    provider = form.get("provider", "")
    name = PROVIDERS.get(transaction.currency, {}).get(provider)
    digits = re.sub(r"\D", "", form.get("phone", ""))
    if name is None:
        raise FormProblemError("provider", "Choose a provider.")
    if not digits:
        raise FormProblemError("phone", "Enter the mobile money number.")
    begin(world, transaction, "mobile_money")
    if digits[-9:] != _WALLETS[provider]:
        _decline(world, transaction, "Declined. Please use the test mobile money number", status="failed")
        return
    instrument = account_instrument("mobile_money", bank=name, account="0" + digits[-9:])
    if provider == "mpesa":
        transaction.page.instrument = instrument
        _await_money(world, transaction)
    else:
        ask(world, transaction, instrument, ["otp"] if provider == "orange" else [])


def _transfer(world: World, transaction: Transaction, _form: Form) -> None:
    instrument = account_instrument("bank_transfer", bank="Test Bank", account="0123456553")
    _pay_outside(world, transaction, "bank_transfer", instrument)


def _ussd(world: World, transaction: Transaction, form: Form) -> None:
    bank = USSD_CODES.get(form.get("bank", ""))
    if bank is None:
        raise FormProblemError("bank", "Choose a bank.")
    _pay_outside(world, transaction, "ussd", account_instrument("ussd", bank=bank, account="offline"))


def _qr(world: World, transaction: Transaction, _form: Form) -> None:
    instrument = account_instrument("qr", bank="Scan to Pay", account="4839536208")
    _pay_outside(world, transaction, "qr", instrument)


def _sent(world: World, transaction: Transaction, _form: Form) -> None:
    _await_money(world, transaction)


def _restart(world: World, transaction: Transaction, _form: Form) -> None:
    if transaction.page.step == "waiting":
        return
    if transaction.page.step != "choose":
        write_log(world, transaction, "action", "Chose another way to pay")
        transaction.status, transaction.gateway_response = "abandoned", _NOT_COMPLETED
    transaction.page.end_try()


def _cancel(world: World, transaction: Transaction, _form: Form) -> None:
    # Money already on its way still arrives after this, as in life.
    write_log(world, transaction, "action", "Cancelled the payment")
    if transaction.planned is None:
        transaction.page.end_try()
    transaction.page.cancelled = True


def begin(world: World, transaction: Transaction, channel: str) -> None:
    """Note that the customer tries to pay this way."""
    transaction.page.channel = channel
    transaction.channel = channel
    write_log(world, transaction, "action", f"Attempted to pay with {channel}")


def ask(world: World, transaction: Transaction, instrument: JsonObject, steps: list[str]) -> None:
    """Lead an instrument through its steps; without any it pays, or is declined, at once."""
    transaction.page.instrument = instrument
    transaction.page.remaining = steps
    _next(world, transaction)


def _next(world: World, transaction: Transaction) -> None:
    page = transaction.page
    if page.remaining:
        page.step = page.remaining.pop(0)
        write_log(world, transaction, "auth", f"Authentication Required: {page.step}")
        return
    card = find_card(str(page.instrument.get("number")))
    if card is not None and card.decline is not None:
        _decline(world, transaction, card.decline, status=card.declined_status)
    else:
        response = "Successful" if card is not None else "Approved"
        pay(world, transaction, page.instrument, gateway_response=response)
        transaction.page.end_try()


def _pay_outside(world: World, transaction: Transaction, channel: str, instrument: JsonObject) -> None:
    """Show what the customer needs to pay outside the page, and wait for word that it was done."""
    begin(world, transaction, channel)
    page = transaction.page
    page.instrument, page.remaining, page.step = instrument, [], "outside"
    transaction.status, transaction.gateway_response = "ongoing", IN_PROGRESS


def _await_money(world: World, transaction: Transaction) -> None:
    transaction.page.step = "waiting"
    transaction.status, transaction.gateway_response = "ongoing", IN_PROGRESS
    response = "Payment successful" if transaction.channel in {"ussd", "qr"} else "Approved"
    at_ms = world.clock.now_ms() + ARRIVAL_MS
    plan(world, transaction, Planned(at_ms, transaction.page.instrument, response))


def _decline(world: World, transaction: Transaction, reason: str, *, status: str) -> None:
    decline(world, transaction, reason, status=status)
    transaction.page.error = reason


_ALL_STEPS = ("choose", "pin", "phone", "otp", "birthday", "address", "bank_page", "outside", "waiting")
# The steps at which each form is taken. Those of a channel need that channel to be offered.
ACTIONS: dict[str, tuple[tuple[str, ...], Taken]] = {
    "card": (("choose",), _card),
    "bank": (("choose",), _bank),
    "bank_transfer": (("choose",), _transfer),
    "ussd": (("choose",), _ussd),
    "mobile_money": (("choose",), _mobile_money),
    "qr": (("choose",), _qr),
    "eft": (("choose",), _eft),
    "pin": (("pin",), _pin),
    "phone": (("phone",), _phone),
    "otp": (("otp",), _otp),
    "birthday": (("birthday",), _birthday),
    "address": (("address",), _address),
    "bank_page": (("bank_page",), _bank_page),
    "sent": (("outside",), _sent),
    "restart": (_ALL_STEPS, _restart),
    "cancel": (_ALL_STEPS, _cancel),
}
_CHANNEL_ACTIONS = frozenset({"card", "bank", "bank_transfer", "ussd", "mobile_money", "qr", "eft"})
