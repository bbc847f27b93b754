"""Encryption at rest for what names a person or could be charged: e-mail addresses, webhook bodies.

AES-256-GCM with a random nonce: nonce, ciphertext and tag in one. It costs a tenth of Fernet's time, of which a payment
would spend it four times. A key is good for 2^32 seals (NIST SP 800-38D §8.3): rotate it well before.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import PayfleetError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

_KEY_BYTES = 32
_NONCE_BYTES = 12


class UnsealError(PayfleetError):
    """No configured key opens what is stored: a key was removed too early, or the bytes were changed."""


class Seal:
    """Seals with the first key of ENCRYPTION_KEY and opens with any of them."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        """Take the keys.

        Raises:
            SettingsError: a key is not 32 bytes in URL-safe base64.

        """
        self._ciphers = [AESGCM(_key_bytes(key.get_secret_value())) for key in keys]

    def seal(self, plain: bytes) -> bytes:
        """Encrypt for storage."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` stored.

        Raises:
            UnsealError: no key fits, or the bytes are not what was stored.

        """
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, None)
            except (InvalidTag, ValueError):
                continue
        message = "no key of ENCRYPTION_KEY opens it"
        raise UnsealError(message)


def new_key() -> str:
    """Make a key at random, in the form that ENCRYPTION_KEY takes."""
    return base64.urlsafe_b64encode(AESGCM.generate_key(8 * _KEY_BYTES)).decode()


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        message = "ENCRYPTION_KEY: each key must be 32 bytes in URL-safe base64 (`payfleet keygen` prints one)"
        raise SettingsError(message)
    return key
