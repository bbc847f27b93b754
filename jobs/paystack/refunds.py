"""Paystack's refunds, as far as Payfleet reads them.

Shapes: https://paystack.com/docs/api/refund/. Create shows the transaction whole, fetch and list its number only;
amounts come as numbers and as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.errors import ErrorCode
from domain.refund import RefundNews, RefundStatus
from jobs.paystack.wire import Instant, OptionalAmount, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.paystack.answers import Refused

_STATUS_OF: Mapping[str, RefundStatus] = {
    "pending": RefundStatus.PROCESSING,
    "processing": RefundStatus.PROCESSING,
    "processed": RefundStatus.SUCCESS,
    "failed": RefundStatus.FAILED,
    "needs-attention": RefundStatus.NEEDS_ATTENTION,
}
_KEPT = (
    "id",
    "domain",
    "status",
    "amount",
    "deducted_amount",
    "fully_deducted",
    "currency",
    "channel",
    "bank_reference",
    "refunded_at",
    "expected_at",
    "createdAt",
    "created_at",
)


def _number_of(transaction: object) -> object:
    """Read a transaction's number, whether the transaction is shown whole or not."""
    return cast("dict[str, object]", transaction).get("id") if isinstance(transaction, dict) else transaction


class RefundData(BaseModel):
    """A refund, as create, fetch and list show it; amounts in subunits."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[int, Field(ge=0, lt=2**64)]
    transaction: Annotated[int, Field(ge=0, lt=2**64), BeforeValidator(_number_of)]
    transaction_reference: Text = None
    status: str
    amount: OptionalAmount = None
    currency: Text = None
    merchant_note: Text = None
    reason: Text = None
    refunded_at: Instant = None


@dataclass(frozen=True, slots=True)
class FoundRefund:
    """A refund and the raw answer it was read from."""

    refund: RefundData
    raw: dict[str, Any]


def news_of(found: FoundRefund) -> RefundNews:
    """Read how a refund stands at Paystack.

    By a word that nobody has heard of it is under way: Paystack has it, and says neither that it is done nor that it
    has failed.
    """
    refund, raw = found.refund, found.raw
    status = _STATUS_OF.get(refund.status, RefundStatus.PROCESSING)
    failed = status is RefundStatus.FAILED
    return RefundNews(
        status=status,
        gateway_refund_id=refund.id,
        amount=refund.amount,
        currency=refund.currency,
        code=ErrorCode.PAYSTACK_API_ERROR if failed else None,
        message=refund.reason or "Paystack could not give the money back." if failed else None,
        processed_at=refund.refunded_at,
        response={name: raw[name] for name in _KEPT if name in raw},
    )


def refusal_code(refused: Refused) -> ErrorCode:
    """Name a refusal of `POST /refund`; its text is all that tells most of them apart."""
    text = refused.message.lower()
    if refused.code == "transaction_reversed" or "fully reversed" in text or "fully refunded" in text:
        return ErrorCode.REFUND_NOT_ALLOWED
    if "cannot exceed" in text:
        return ErrorCode.PARTIAL_REFUND_EXCEEDS
    return ErrorCode.PAYSTACK_API_ERROR
