"""Everything Payfleet reads from its environment, checked at once when a process starts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.errors import SettingsError

_HS256_KEY_BYTES_MIN = 32  # RFC 7518 §3.2: a key as long as the hash output


class Settings(BaseSettings):
    """The environment of every Payfleet process; the field names in upper case are the variables' names.

    Secrets have no default: a service that takes money never starts on a key everybody knows.
    """

    # A variable that is set to nothing, as in a copied .env, counts as unset.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    port: int = Field(default=3000, ge=1, le=65535)
    database_url: SecretStr
    database_pool_min: int = Field(default=2, ge=0)
    database_pool_max: int = Field(default=10, ge=1)
    redis_url: SecretStr | None = None
    rabbitmq_url: SecretStr | None = None
    rabbitmq_exchange: str = "payment_events"
    paystack_secret_key: SecretStr
    paystack_base_url: str = "https://api.paystack.co"
    paystack_callback_url: str | None = None
    jwt_secret: SecretStr | None = None
    jwt_public_key: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    encryption_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(min_length=1)
    log_level: str = "info"

    @field_validator("encryption_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        """Read a comma list: the first key encrypts, all decrypt, so that keys can be rotated."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("paystack_secret_key")
    @classmethod
    def _is_a_secret_key(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sk_test_", "sk_live_")):
            message = "must be a Paystack secret key (sk_test_… or sk_live_…)"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _has_one_jwt_key(self) -> Self:
        if (self.jwt_secret is None) == (self.jwt_public_key is None):
            message = "exactly one of JWT_SECRET and JWT_PUBLIC_KEY must be set"
            raise ValueError(message)
        if self.jwt_secret and len(self.jwt_secret.get_secret_value().encode()) < _HS256_KEY_BYTES_MIN:
            message = f"JWT_SECRET must have at least {_HS256_KEY_BYTES_MIN} bytes"
            raise ValueError(message)
        if self.database_pool_min > self.database_pool_max:
            message = "DATABASE_POOL_MIN must not exceed DATABASE_POOL_MAX"
            raise ValueError(message)
        return self

    @property
    def is_live(self) -> bool:
        """Whether real money moves."""
        return self.paystack_secret_key.get_secret_value().startswith("sk_live_")


def load() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: names every variable that is missing or wrong, never its value.

    """
    try:
        return Settings()  # pyright: ignore[reportCallIssue] - the fields come from the environment
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg']}" for e in error.errors()]
        raise SettingsError("the environment is not complete:\n  " + "\n  ".join(lines)) from None
