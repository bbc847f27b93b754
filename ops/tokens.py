"""Signing bearer tokens for trying things out; in production your identity provider does this."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from domain.settings import Settings


def sign_token(settings: Settings, subject: str, roles: Sequence[str], lifetime: timedelta) -> str:
    """Sign a token that the ingress with the same settings accepts.

    Raises:
        SettingsError: tokens are checked with JWT_PUBLIC_KEY here, and its private half is elsewhere.

    """
    if settings.jwt_secret is None:
        message = "tokens are signed elsewhere: JWT_PUBLIC_KEY is set, not JWT_SECRET"
        raise SettingsError(message)
    claims: dict[str, object] = {
        "sub": subject,
        "roles": list(roles),
        "exp": int(time.time() + lifetime.total_seconds()),
    }
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")
