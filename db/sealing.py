"""Encryption at rest for what names a person or could be charged: e-mail addresses, webhook bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, MultiFernet

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr


class Seal:
    """Seals with the first key of ENCRYPTION_KEY and opens with any of them (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        """Take the keys.

        Raises:
            SettingsError: a key is not 32 bytes in URL-safe base64.

        """
        try:
            self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys])
        except ValueError as error:
            message = "ENCRYPTION_KEY: each key must be 32 bytes in URL-safe base64 (`payfleet keygen` prints one)"
            raise SettingsError(message) from error

    def seal(self, plain: bytes) -> bytes:
        """Encrypt for storage."""
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` stored; raises InvalidToken when no key fits."""
        return self._fernet.decrypt(sealed)
