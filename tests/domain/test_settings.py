"""The environment: each mistake is named, and no value of it is ever shown."""

import pytest

from domain.errors import SettingsError
from domain.settings import Settings, load

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://payfleet:hunter2-database@127.0.0.1/payfleet",
    "PAYSTACK_SECRET_KEY": "sk_test_hunter2-paystack",
    "JWT_SECRET": "hunter2-jwt-0123456789-0123456789-0123456789",
    "ENCRYPTION_KEY": "hunter2-encryption",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_complete_environment_is_read(environment: pytest.MonkeyPatch) -> None:
    settings = load()
    assert settings.database_url.get_secret_value() == ENVIRONMENT["DATABASE_URL"]
    assert settings.port == 3000
    assert not settings.is_live


def test_a_live_key_is_known_as_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PAYSTACK_SECRET_KEY", "sk_live_x")
    assert load().is_live


def test_the_encryption_keys_are_a_comma_list(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENCRYPTION_KEY", "new, old,,")
    assert [key.get_secret_value() for key in load().encryption_key] == ["new", "old"]


def test_a_missing_secret_has_no_default(environment: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        environment.delenv(name)
    with pytest.raises(SettingsError) as refused:
        load()
    for name in ("DATABASE_URL", "PAYSTACK_SECRET_KEY", "ENCRYPTION_KEY"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("PORT", "hunter2", "PORT"),
        ("PORT", "0", "PORT"),
        ("PORT", "65536", "PORT"),
        ("DATABASE_URL", "", "DATABASE_URL"),
        ("DATABASE_POOL_MAX", "0", "DATABASE_POOL_MAX"),
        ("DATABASE_POOL_MIN", "11", "DATABASE_POOL_MIN must not exceed DATABASE_POOL_MAX"),
        ("PAYSTACK_SECRET_KEY", "pk_test_hunter2", "PAYSTACK_SECRET_KEY"),
        ("PAYSTACK_CALLBACK_URL", "hunter2.example/payments/callback", "PAYSTACK_CALLBACK_URL"),
        ("USER_SERVICE_URL", "hunter2.internal", "USER_SERVICE_URL"),
        ("ORDER_SERVICE_URL", "file:///hunter2", "ORDER_SERVICE_URL"),
        ("PAYSTACK_SECRET_KEY", "", "PAYSTACK_SECRET_KEY"),
        ("JWT_SECRET", "hunter2-too-short", "JWT_SECRET must have at least 32 bytes"),
        ("JWT_PUBLIC_KEY", "hunter2", "exactly one of JWT_SECRET and JWT_PUBLIC_KEY"),
        ("ENCRYPTION_KEY", " , ", "ENCRYPTION_KEY"),
        ("ENCRYPTION_KEY", "", "ENCRYPTION_KEY"),
    ],
)
def test_a_mistake_is_named_without_its_value(
    environment: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert named in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None  # a traceback would quote the input


def test_without_any_jwt_key_nobody_could_be_told_apart(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("JWT_SECRET")
    with pytest.raises(SettingsError, match="exactly one of JWT_SECRET and JWT_PUBLIC_KEY"):
        load()


def test_an_optional_variable_left_empty_counts_as_unset(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_PUBLIC_KEY", "")
    environment.setenv("PORT", "")
    assert load().jwt_public_key is None


def test_printed_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in repr(load())
