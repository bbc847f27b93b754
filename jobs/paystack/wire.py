"""Paystack's JSON, as far as Payfleet reads it; every field it does not need may be missing, null or of another type.

Shapes: https://paystack.com/docs/api/transaction/ and the events of https://paystack.com/docs/payments/webhooks/.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, assert_never, cast

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from domain.method import Authorization
from domain.payment import Charged, ChargeFailed, Fact, InProgress, Instrument, NotPaid

_MODEL = ConfigDict(extra="ignore", frozen=True)

Amount = Annotated[int, Field(ge=0, lt=2**63)]
_KEPT = (
    "id",
    "domain",
    "status",
    "reference",
    "amount",
    "requested_amount",
    "currency",
    "channel",
    "gateway_response",
    "message",
    "fees",
    "paid_at",
    "created_at",
)
_KEPT_OF_AUTHORIZATION = (
    "last4",
    "exp_month",
    "exp_year",
    "channel",
    "card_type",
    "bank",
    "country_code",
    "brand",
    "reusable",
)
_SMALL_NUMBER = re.compile(r"[0-9]{1,4}")
_AMOUNT_DIGITS_MAX = 18  # below 2**63
_NO_YEAR = 9999  # what Paystack writes where there is no card
_ESCAPED_NUL = re.compile(rb"((?<!\\)(?:\\\\)*)\\u0000")


def read_json(body: bytes) -> Any:
    """Read JSON without its NUL characters, which mean nothing and which Postgres cannot hold.

    Raises:
        orjson.JSONDecodeError: it is no JSON.

    """
    return orjson.loads(_ESCAPED_NUL.sub(rb"\1", body))


def _small_number(value: object) -> int | None:
    """Read "12" or 12; anything else (null, "", a year like "9999" that stands for none) is no number."""
    number = int(str(value)) if _SMALL_NUMBER.fullmatch(str(value)) else 0
    return None if number in {0, _NO_YEAR} else number


def _text(value: object) -> str | None:
    """Read a text without Paystack's trailing blanks ("visa "); an empty one is none."""
    return value.strip() or None if isinstance(value, str) else None


def _object(value: object) -> object:
    """Read an object; anything else ("", null, a list) is an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _instant(value: object) -> datetime | None:
    """Read an instant; one without a zone is in UTC, and what is no instant is none."""
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return instant if instant is None or instant.tzinfo else instant.replace(tzinfo=UTC)


def _optional_amount(value: object) -> int | None:
    """Read an amount that may be missing."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _AMOUNT_DIGITS_MAX else None


def _yes(value: object) -> bool:
    """Read a flag; anything but true (null, 1, a text) is no."""
    return value is True


Text = Annotated[str | None, BeforeValidator(_text)]
Secret = Annotated[SecretStr | None, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_yes)]
Instant = Annotated[datetime | None, BeforeValidator(_instant)]
OptionalAmount = Annotated[Amount | None, BeforeValidator(_optional_amount)]


class AuthorizationData(BaseModel):
    """What a customer paid with, and may be charged with again. The code is a secret."""

    model_config = _MODEL

    authorization_code: Secret = None
    reusable: Flag = False
    signature: Text = None
    channel: Text = None
    last4: Text = None
    exp_month: Annotated[int | None, BeforeValidator(_small_number)] = None
    exp_year: Annotated[int | None, BeforeValidator(_small_number)] = None
    card_type: Text = None
    brand: Text = None
    bank: Text = None
    account_name: Text = None
    country_code: Text = None


class CustomerData(BaseModel):
    """Whom a transaction is about."""

    model_config = _MODEL

    email: Secret = None


class Transaction(BaseModel):
    """A transaction, as verify, fetch and the `charge.*` events show it; amounts in subunits."""

    model_config = _MODEL

    id: Annotated[int, Field(ge=0, lt=2**64)]
    domain: Text = None
    status: str
    reference: str
    amount: Amount
    requested_amount: OptionalAmount = None
    currency: str
    channel: Text = None
    gateway_response: Text = None
    message: Text = None
    paid_at: Instant = None
    authorization: Annotated[AuthorizationData, BeforeValidator(_object)] = AuthorizationData()
    customer: Annotated[CustomerData, BeforeValidator(_object)] = CustomerData()


class InitializedTransaction(BaseModel):
    """The answer to initialize."""

    model_config = _MODEL

    authorization_url: Annotated[str, Field(min_length=1, max_length=2048)]
    access_code: Annotated[str, Field(min_length=1, max_length=255)]
    reference: str


class WebhookEvent(BaseModel):
    """The envelope of every event; `data` is a list for a few of them."""

    model_config = _MODEL

    event: str
    data: Any = None


class GatewayStatus(StrEnum):
    """What Paystack says of a transaction (https://paystack.com/docs/payments/verify-payments/#transaction-statuses)."""

    SUCCESS = "success"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Not paid yet: just opened, a PIN awaited, or declined once and still open to another try."""
    ONGOING = "ongoing"
    PENDING = "pending"
    PROCESSING = "processing"
    QUEUED = "queued"
    REVERSED = "reversed"
    REVERSAL_PENDING = "reversal-pending"


IN_PROGRESS = frozenset({GatewayStatus.ONGOING, GatewayStatus.PENDING, GatewayStatus.PROCESSING, GatewayStatus.QUEUED})
"""The customer acted, or need not, and the bank has not answered yet."""

PAID = frozenset({GatewayStatus.SUCCESS, GatewayStatus.REVERSED, GatewayStatus.REVERSAL_PENDING})
"""The customer's money arrived; it may have left again."""


def fact_of(transaction: Transaction, raw: dict[str, Any], *, expired: bool) -> Fact | None:
    """Read what verify says as a fact about the payment; None for a status that means nothing to us.

    Args:
        transaction: as verify shows it.
        raw: the answer it was read from.
        expired: whether the customer has had all the time there is.

    """
    try:
        status = GatewayStatus(transaction.status)
    except ValueError:
        return None  # the payment stays as it is: a status nobody has heard of is never guessed at
    match status:
        case GatewayStatus.SUCCESS | GatewayStatus.REVERSED | GatewayStatus.REVERSAL_PENDING:
            return charged_fact(transaction, raw)
        case GatewayStatus.FAILED:
            reason = transaction.gateway_response or transaction.message or "no reason given"
            return ChargeFailed(reference=transaction.reference, reason=reason, transaction_id=transaction.id)
        case GatewayStatus.ABANDONED:
            return NotPaid(transaction.reference, expired)
        case GatewayStatus.ONGOING | GatewayStatus.PENDING | GatewayStatus.PROCESSING | GatewayStatus.QUEUED:
            return InProgress(transaction.reference)
        case _:
            assert_never(status)


def charged_fact(transaction: Transaction, raw: dict[str, Any]) -> Charged:
    """Read a transaction that was paid as a fact about a payment.

    Where the customer bears the fees, `amount` is more than was asked and `requested_amount` is what was asked.
    """
    card = transaction.authorization
    return Charged(
        reference=transaction.reference,
        asked=transaction.amount if transaction.requested_amount is None else transaction.requested_amount,
        received=transaction.amount,
        currency=transaction.currency,
        transaction_id=transaction.id,
        paid_at=transaction.paid_at,
        instrument=Instrument(
            channel=transaction.channel,
            card_type=card.card_type,
            card_brand=card.brand,
            card_last4=card.last4,
            card_exp_month=card.exp_month,
            card_exp_year=card.exp_year,
        ),
        response=kept_of(raw),
        reversed=transaction.status == GatewayStatus.REVERSED,
        authorization=authorization_of(card, transaction.customer.email),
    )


def authorization_of(data: AuthorizationData, email: SecretStr | None) -> Authorization | None:
    """Read a permission to charge again; None where Paystack gave no code, or does not say for which address."""
    if data.authorization_code is None or email is None:
        return None
    return Authorization(
        code=data.authorization_code.get_secret_value(),
        email=email.get_secret_value(),
        reusable=data.reusable,
        signature=data.signature,
        channel=data.channel,
        card_type=data.card_type,
        brand=data.brand,
        last4=data.last4,
        exp_month=data.exp_month,
        exp_year=data.exp_year,
        bank=data.bank,
        account_name=data.account_name,
        country_code=data.country_code,
    )


def kept_of(raw: dict[str, Any]) -> dict[str, Any]:
    """Keep of a transaction what may be stored in the clear: no e-mail, no address, no authorization code."""
    kept = {name: raw[name] for name in _KEPT if name in raw}
    authorization = raw.get("authorization")
    if isinstance(authorization, dict):
        kept["authorization"] = {name: authorization[name] for name in _KEPT_OF_AUTHORIZATION if name in authorization}
    return kept
