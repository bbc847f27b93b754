"""Everything Payfleet reads from its environment, checked at once when a process starts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.channels import Channel, Features
from domain.errors import SettingsError
from domain.money import Currency
from domain.quotas import Endpoint, parse_limits, published_limits

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
    redis_ttl_default: int = Field(default=300, ge=1)
    rabbitmq_url: SecretStr | None = None
    rabbitmq_exchange: str = "payment_events"
    paystack_secret_key: SecretStr
    paystack_public_key: str | None = None
    paystack_base_url: str = "https://api.paystack.co"
    paystack_callback_url: str | None = None
    paystack_rate_limits: str = ""
    user_service_url: str | None = None
    order_service_url: str | None = None
    jwt_secret: SecretStr | None = None
    jwt_public_key: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    encryption_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(min_length=1)
    rate_limit_window_ms: int = Field(default=60_000, ge=1_000)
    rate_limit_max_requests: int = Field(default=100, ge=1)
    rate_limit_payment_max: int = Field(default=10, ge=1)
    enable_card_payments: bool = True
    enable_bank_transfer: bool = True
    enable_mobile_money: bool = True
    enable_ussd: bool = True
    enable_multi_currency: bool = True
    enable_duplicate_refund: bool = False
    enable_refund_resend: bool = True
    log_level: str = "info"

    @field_validator("encryption_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        """Read a comma list: the first key encrypts, all decrypt, so that keys can be rotated."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("paystack_base_url", "paystack_callback_url", "user_service_url", "order_service_url")
    @classmethod
    def _is_a_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            message = "must begin with http:// or https://"
            raise ValueError(message)
        return value

    @field_validator("paystack_secret_key")
    @classmethod
    def _is_a_secret_key(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sk_test_", "sk_live_")):
            message = "must be a Paystack secret key (sk_test_… or sk_live_…)"
            raise ValueError(message)
        return value

    @field_validator("paystack_rate_limits")
    @classmethod
    def _names_endpoints(cls, value: str) -> str:
        parse_limits(value, {})
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

    @property
    def rate_limits(self) -> dict[Endpoint, int]:
        """How many calls a minute may leave to each of Paystack's endpoints."""
        return parse_limits(self.paystack_rate_limits, published_limits(live=self.is_live))

    @property
    def features(self) -> Features:
        """What the ENABLE_… flags leave on."""
        switches = {
            Channel.CARD: self.enable_card_payments,
            Channel.APPLE_PAY: self.enable_card_payments,
            Channel.BANK_TRANSFER: self.enable_bank_transfer,
            Channel.MOBILE_MONEY: self.enable_mobile_money,
            Channel.USSD: self.enable_ussd,
        }
        return Features(
            channels_off=frozenset(channel for channel, on in switches.items() if not on),
            currencies=frozenset(Currency) if self.enable_multi_currency else frozenset({Currency.NGN}),
        )


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
