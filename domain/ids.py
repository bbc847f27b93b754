"""Identifiers: UUIDv7 inside, a typed prefix and Crockford base32 outside (the TypeID form).

`pay_01jd7v…` is easy to read aloud, sorts by time, and says what it names. The same 26 characters make a payment's
Paystack reference, so the reference leads back to the row without an index of its own.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26  # 26 * 5 bits hold the 128 of a UUID; the first letter is at most '7'
_WELL_FORMED = re.compile(rf"[0-7][{_ALPHABET}]{{{_LENGTH - 1}}}")
# Two letters at a time to write; to read, the digits that Python itself reads in base 32.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")

REFERENCE_PREFIX = "pf-"
_SEQUENCE = re.compile(r"[2-9]|[1-9][0-9]{1,3}")  # the first reference carries no number


class Prefix(StrEnum):
    """What an identifier names."""

    PAYMENT = "pay"
    REFUND = "rfd"
    PAYMENT_METHOD = "pm"
    EVENT = "evt"
    JOB = "job"
    WEBHOOK = "whk"


class MalformedIdError(ValueError):
    """The text is not an identifier of the kind asked for."""


@lru_cache(maxsize=256)  # an answer names its payment three times
def _encode(value: UUID) -> str:
    number = value.int
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def _decode(text: str) -> UUID:
    if not _WELL_FORMED.fullmatch(text):
        raise MalformedIdError(text)
    return UUID(int=int(text.translate(_DIGITS), 32))


def show(prefix: Prefix, value: UUID) -> str:
    """Write an identifier as clients see it, such as `pay_01jd7v3m9ye5s8x4q2k6t0n1rc`."""
    return f"{prefix}_{_encode(value)}"


def parse(prefix: Prefix, text: str) -> UUID:
    """Read an identifier that a client sent.

    Raises:
        MalformedIdError: another prefix, another length, or a letter outside the alphabet.

    """
    head, _, tail = text.partition("_")
    if head != prefix:
        raise MalformedIdError(text)
    return _decode(tail)


def pattern_of(prefix: Prefix) -> str:
    """Describe the identifiers of a kind, as a regular expression that Python, Rust and JavaScript read alike."""
    return rf"^{prefix}_{_WELL_FORMED.pattern}$"


def reference_of(payment_id: UUID, sequence: int) -> str:
    """Make the Paystack reference of a payment's n-th transaction: `pf-…`, then `pf-….2`, `pf-….3`.

    Paystack takes letters, digits, `-`, `.` and `=` in a reference, and each reference only once, ever.
    """
    stem = REFERENCE_PREFIX + _encode(payment_id)
    return stem if sequence == 1 else f"{stem}.{sequence}"


def payment_of(reference: str) -> tuple[UUID, int]:
    """Find the payment and the sequence number that a reference was made from.

    Raises:
        MalformedIdError: the reference was not made by Payfleet.

    """
    if not reference.startswith(REFERENCE_PREFIX):
        raise MalformedIdError(reference)
    stem, dot, tail = reference[len(REFERENCE_PREFIX) :].partition(".")
    if not dot:
        return _decode(stem), 1
    if not _SEQUENCE.fullmatch(tail):
        raise MalformedIdError(reference)
    return _decode(stem), int(tail)
