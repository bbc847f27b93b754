"""The request that initializes a transaction, checked the way Paystack checks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.answers import (
    RefusalError,
    invalid_email,
    missing,
    unsupported_currency,
)
from sandbox.channels import KNOWN, offered
from sandbox.wire import Json, JsonObject, UnreadableBodyError, load

AMOUNT_MAX = 10_000_000_00  # 10,000,000.00 of any currency, in its subunit
_EMAIL = re.compile(r"[^\s@]+@(?:[^\s@.]+\.)+(?P<tld>[^\s@.]{2,})")
_REFUSED_TLDS = frozenset({"local", "localhost", "invalid", "test"})
_EMAIL_LENGTH_MAX = 254
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
# Documented are letters, digits and - . = ; the underscore is not, but the test API takes it.
_REFERENCE = re.compile(r"[A-Za-z0-9._=-]{1,200}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transaction asked for; ``reference`` None lets Paystack make one."""

    email: str
    amount: int
    currency: str
    reference: str | None
    channels: list[str]
    metadata: JsonObject | str | None
    callback_url: str | None
    label: str | None


def read_wanted(body: JsonObject, *, currencies: Sequence[str]) -> Wanted:
    """Check a request; the first currency is the account's own.

    Raises:
        RefusalError: 400, as Paystack would answer.

    """
    email = read_email(body.get("email"))
    amount = read_amount(body.get("amount"))
    currency = body.get("currency") or currencies[0]
    if not isinstance(currency, str) or currency.upper() not in currencies:
        raise unsupported_currency()
    return Wanted(
        email=email,
        amount=amount,
        currency=currency.upper(),
        reference=_reference(body.get("reference")),
        channels=_channels(body.get("channels"), currency.upper()),
        metadata=read_metadata(body.get("metadata")),
        callback_url=_web_address(body.get("callback_url")),
        label=read_text(body.get("label")),
    )


def read_email(value: Json) -> str:
    """Take an address Paystack would write to.

    Raises:
        RefusalError: 400, if it is missing or no such address.

    """
    if value is None or value == "":
        raise missing("Email Address is required")
    match = _EMAIL.fullmatch(value) if isinstance(value, str) and len(value) <= _EMAIL_LENGTH_MAX else None
    if match is None or match["tld"].lower() in _REFUSED_TLDS:
        raise invalid_email()
    return match[0]


def read_amount(value: Json) -> int:
    """Take 100, 100.0 and "100" as 100 subunits.

    Raises:
        RefusalError: 400, if it is no whole number of subunits, not above 0, or above the maximum.

    """
    if value is None or value == "":
        raise missing('"amount" is required')
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        whole_part, _, fraction = value.strip().partition(".")
        value = int(whole_part) if not fraction.strip("0") else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusalError(400, '"amount" must be a number')
    if isinstance(value, float) and not value.is_integer():
        raise RefusalError(400, '"amount" must be an integer')
    amount = int(value)
    if amount <= 0:
        raise RefusalError(400, "Invalid Amount Sent", code="invalid_amount")
    if amount > AMOUNT_MAX:
        raise RefusalError(400, "Amount is above the maximum of 10,000,000.00", code="invalid_amount")
    return amount


def _reference(value: Json) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise RefusalError(400, "Invalid transaction reference: only letters, digits, -, . and = are allowed")
    return value


def _channels(value: Json, currency: str) -> list[str]:
    if value is None or value in ("", []):
        return []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise RefusalError(400, '"channels" must be an array')
    wanted = [channel for channel in value if isinstance(channel, str) and channel in KNOWN]
    if not offered(currency, wanted) or not wanted:
        raise RefusalError(400, "No active channel", code="no_active_channel")
    return wanted


def read_metadata(value: Json) -> JsonObject | str | None:
    """Keep types only in a JSON string: an object's numbers come back as strings."""
    if isinstance(value, str):
        try:
            parsed = load(value.encode())
        except UnreadableBodyError:
            return value or None
        return parsed if isinstance(parsed, dict) else value
    try:
        stringed = _stringed(value)
    except RecursionError as error:
        raise RefusalError(400, "Invalid request body") from error
    return stringed if isinstance(stringed, dict) else None


def _stringed(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _stringed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_stringed(member) for member in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _web_address(value: Json) -> str | None:
    """Take an http(s) address; other schemes are dropped, because the page turns it into a link."""
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        return value
    return None


def read_text(value: Json) -> str | None:
    """Take a text that is not empty; anything else counts as absent."""
    return value if isinstance(value, str) and value else None
