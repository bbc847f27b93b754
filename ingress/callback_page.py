"""The page for a customer who comes back from Paystack and has no shop to go on to: plain HTML, no script."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from domain.payment import PaymentStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.payment import Payment

_STYLE = (Path(__file__).parent / "templates" / "callback.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_environment = Environment(
    loader=PackageLoader("ingress", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Message:
    """What is said; `may_change` when looking again, or paying again, can make a difference."""

    tone: str
    title: str
    text: str
    may_change: bool = False


_S = PaymentStatus
_MESSAGE_OF: Mapping[PaymentStatus, Message] = {
    _S.PENDING: Message(
        "wait",
        "Not paid yet",
        "We have not received this payment yet. If you have just paid, it can take a moment to arrive.",
        may_change=True,
    ),
    _S.PROCESSING: Message(
        "wait",
        "Waiting for your bank",
        "You have done your part. Your bank or mobile network has not confirmed the payment yet; do not pay again.",
    ),
    _S.SUCCESS: Message("good", "Payment received", "Thank you. You can close this page."),
    _S.FAILED: Message(
        "bad",
        "The payment did not go through",
        "You can try again on the payment page, in another way if you like.",
        may_change=True,
    ),
    _S.ABANDONED: Message(
        "bad",
        "The time to pay is over",
        "We have not received this payment. If you have paid, keep the reference below: it will still be counted.",
    ),
    _S.CANCELLED: Message("bad", "Payment cancelled", "This payment was cancelled. Nothing is left for you to do."),
    _S.REFUNDED: Message("good", "Payment refunded", "This payment was received, and has been given back."),
    _S.PARTIALLY_REFUNDED: Message(
        "good", "Payment received", "This payment was received, and a part of it has been given back."
    ),
}
_UNKNOWN = Message("bad", "We do not know this payment", "The link leads to no payment of ours. It may be incomplete.")
_UNAVAILABLE = Message(
    "wait",
    "We cannot look just now",
    "What you have paid is not lost. Please open this page again in a few minutes.",
)


def payment_page(payment: Payment) -> str:
    """Say what became of a payment."""
    return _render(_MESSAGE_OF[payment.status], payment)


def unknown_page() -> str:
    """Say that there is no such payment."""
    return _render(_UNKNOWN, None)


def unavailable_page() -> str:
    """Say that nothing can be said now."""
    return _render(_UNAVAILABLE, None)


def _render(message: Message, payment: Payment | None) -> str:
    return _environment.get_template("callback.html").render(message=message, payment=payment, style=_STYLE)
