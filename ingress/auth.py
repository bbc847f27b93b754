"""Who is calling: a JWT read into a caller with roles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import jwt
from flask import request

from domain.errors import ErrorCode, RefusedError, SettingsError

if TYPE_CHECKING:
    from domain.settings import Settings
    from ingress.limits import CustomerLimits

_LEEWAY_SECONDS = 10  # clocks of two machines
_SUBJECT_LENGTH_MAX = 255
_TOKENS_REMEMBERED = 1024


class Role(StrEnum):
    """What a caller may do. A customer acts for itself only: `sub` is its userId."""

    CUSTOMER = "customer"
    SERVICE = "service"
    SUPPORT = "support"
    FINANCE = "finance"
    ADMIN = "admin"


PAYS_FOR_ANYONE = frozenset({Role.SERVICE, Role.ADMIN})
REFUNDS = frozenset({Role.SERVICE, Role.SUPPORT, Role.ADMIN})
READS_EVERYTHING = frozenset({Role.SERVICE, Role.SUPPORT, Role.FINANCE, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    subject: str
    roles: frozenset[Role]

    @property
    def is_customer_only(self) -> bool:
        """Whether nobody but a customer stands behind the token."""
        return not self.roles & READS_EVERYTHING

    def may_pay_for(self, user_id: str) -> bool:
        """Whether the caller may start a payment of this user."""
        return bool(self.roles & PAYS_FOR_ANYONE) or (Role.CUSTOMER in self.roles and self.subject == user_id)

    @property
    def may_refund(self) -> bool:
        """Whether the caller may give money back; customers ask their merchant for it."""
        return bool(self.roles & REFUNDS)

    def may_read(self, user_id: str) -> bool:
        """Whether the caller may see payments of this user."""
        return bool(self.roles & READS_EVERYTHING) or (Role.CUSTOMER in self.roles and self.subject == user_id)


class Authenticator:
    """Checks bearer tokens against the one configured key and its one family of algorithms."""

    def __init__(self, settings: Settings, limits: CustomerLimits) -> None:
        """Read the key.

        Raises:
            SettingsError: JWT_PUBLIC_KEY is no PEM public key for RS256 or ES256.

        """
        if settings.jwt_secret is not None:
            self._key: Any = settings.jwt_secret.get_secret_value().encode()
            self._algorithms = ["HS256"]
        else:
            self._key, self._algorithms = _public_key(settings.jwt_public_key or "")
        self._decoder = jwt.PyJWT(
            {
                "require": ["exp", "sub"],
                "enforce_minimum_key_length": True,
                "verify_aud": bool(settings.jwt_audience),
            }
        )
        # A backend sends the same token for minutes: its signature is checked once, its expiry every time. What is
        # refused is not remembered.
        self._verified = lru_cache(maxsize=_TOKENS_REMEMBERED)(self._verify)
        self._limits = limits
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

    def caller(self) -> Caller:
        """Authenticate the current request.

        Raises:
            RefusedError: no token, or one that is malformed, expired, unsigned, or signed by another key; or a
                customer that has asked too often.

        """
        scheme, _, token = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(ErrorCode.UNAUTHORIZED, "A bearer token is needed.", field="Authorization")
        caller, expires = self._verified(token.strip())
        if time.time() >= expires + _LEEWAY_SECONDS:
            raise _invalid("ExpiredSignatureError")
        if caller.is_customer_only:
            self._limits.count_request(caller.subject)
        return caller

    def _verify(self, token: str) -> tuple[Caller, float]:
        """Check a token and read its caller and the time it expires, in Unix seconds."""
        try:
            claims = self._decoder.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
            )
        except jwt.PyJWTError as error:
            raise _invalid(type(error).__name__) from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LENGTH_MAX or not subject.isprintable():
            raise _invalid("sub is not a name")
        return Caller(subject, _roles(claims.get("roles"))), float(claims["exp"])


def _invalid(details: str) -> RefusedError:
    return RefusedError(ErrorCode.UNAUTHORIZED, "The token is not valid.", details=details, field="Authorization")


def _roles(claim: object) -> frozenset[Role]:
    names = cast("list[object]", claim) if isinstance(claim, list) else [claim]
    return frozenset(role for role in Role if role in names)


def _public_key(pem: str) -> tuple[Any, list[str]]:
    for algorithm in ("RS256", "ES256"):
        try:
            return jwt.get_algorithm_by_name(algorithm).prepare_key(pem.replace("\\n", "\n")), [algorithm]
        except (jwt.InvalidKeyError, TypeError, ValueError):
            continue
    message = "JWT_PUBLIC_KEY: not a PEM public key for RS256 or ES256"
    raise SettingsError(message)
