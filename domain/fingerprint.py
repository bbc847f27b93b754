"""Errors of the same kind told as one: what differs from payment to payment is taken out, and the rest gets a name."""

from __future__ import annotations

import hashlib
import re

# In this order: what a later pattern would tear apart is taken whole by an earlier one. The status of an HTTP answer
# stays: it tells kinds of errors apart, and is the same for every payment.
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"[^\s@<>()\"',;:]+@[^\s@<>()\"',;:]+\.[A-Za-z]+"), "<email>"),
    (re.compile(r"\bpf-\w+(?:\.\d+)?"), "<reference>"),
    # Codes of Paystack's (AUTH_8dfhjjdt), then whatever mixes letters and digits: UUIDs, our own ids, access codes.
    (re.compile(r"\b[A-Z]{2,5}_[a-z0-9]+\b|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}"), "<id>"),
    (re.compile(r"(?<!HTTP )\b\d+(?:[.,]\d+)*\b"), "<n>"),
)
_LENGTH_MAX = 500  # a gateway may answer with pages of text
_DIGITS = 8  # of sixteen values each: enough to tell some thousand errors apart, short enough to be typed


def generalized(error: str) -> str:
    """Take out of an error what names one payment: ids, references, addresses, times and numbers."""
    text = " ".join(error[:_LENGTH_MAX].split())
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text


def fingerprint(error: str) -> str:
    """Name the kind of an error, the same in every process and release: eight hexadecimal digits."""
    return hashlib.sha256(generalized(error).encode()).hexdigest()[:_DIGITS]
