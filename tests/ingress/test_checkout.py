"""`GET /checkout` lists what may be asked for, and `POST /payments` refuses the rest with the flag's code."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from db.connection import Database
from domain.errors import ErrorCode
from tests.ingress.conftest import ORDER, MakeApp, bearer
from tests.ingress.test_input import in_envelope, refused
from tests.stories import rows, settings_for

Client = Any


@pytest.fixture
def client_with(make_app: MakeApp, migrated_url: str, database: Database) -> Client:
    """An application with some settings changed."""
    return lambda **changes: make_app(settings_for(migrated_url, **changes)).test_client()


def listed(client: FlaskClient) -> dict[str, Any]:
    """The currencies by their codes."""
    data = in_envelope(client.get("/checkout"))["data"]
    return {currency["code"]: currency for currency in data["currencies"]}


def ask(client: FlaskClient, **changes: Any) -> Any:
    return client.post("/payments", json=ORDER | changes, headers=bearer())


def test_a_shops_page_learns_what_it_can_offer(client_with: Client) -> None:
    answer = client_with(paystack_public_key="pk_test_shop").get("/checkout")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    data = in_envelope(answer)["data"]
    assert data["publicKey"] == "pk_test_shop"
    assert [currency["code"] for currency in data["currencies"]] == ["GHS", "KES", "NGN", "USD", "ZAR"]
    assert data["currencies"][0] == {
        "code": "GHS",
        "name": "Ghanaian Cedi",
        "symbol": "₵",
        "subunit": "pesewas",
        "minAmount": 100,
        "maxAmount": 99_999_999_900,
        "channels": ["card", "mobile_money", "bank_transfer"],
    }


def test_without_a_public_key_it_is_null_and_no_secret_takes_its_place(client: FlaskClient) -> None:
    answer = client.get("/checkout")
    assert in_envelope(answer)["data"]["publicKey"] is None
    assert b"sk_test" not in answer.data


FLAGS = {
    "enable_card_payments": ("card", "USD"),
    "enable_bank_transfer": ("bank_transfer", None),
    "enable_mobile_money": ("mobile_money", None),
    "enable_ussd": ("ussd", None),
}


@pytest.mark.parametrize(("flag", "channel", "gone"), [(flag, *what) for flag, what in FLAGS.items()])
def test_what_a_flag_switches_off_is_neither_listed_nor_taken(
    client_with: Client, flag: str, channel: str, gone: str | None
) -> None:
    client = client_with(**{flag: False})
    currencies = listed(client)
    assert not any(channel in currency["channels"] for currency in currencies.values())
    assert {"GHS", "KES", "NGN", "USD", "ZAR"} - set(currencies) == ({gone} if gone else set())
    refused(ask(client, channels=[channel]), ErrorCode.FEATURE_DISABLED, "channels")
    if gone:
        refused(ask(client, currency=gone), ErrorCode.FEATURE_DISABLED, "currency")


def test_who_names_no_channel_is_sent_to_those_that_are_on(client_with: Client, database: Database) -> None:
    client = client_with(enable_ussd=False)
    assert ask(client).status_code == 202
    assert rows(database, "SELECT channels FROM payments") == [(listed(client)["NGN"]["channels"],)]


def test_without_multi_currency_naira_is_all_there_is(client_with: Client) -> None:
    client = client_with(enable_multi_currency=False)
    assert list(listed(client)) == ["NGN"]
    refused(ask(client, currency="GHS"), ErrorCode.FEATURE_DISABLED, "currency")
    assert ask(client).status_code == 202


@pytest.mark.parametrize(("currency", "channel"), [("USD", "ussd"), ("NGN", "mobile_money"), ("KES", "eft")])
def test_a_channel_that_the_currency_does_not_have_is_refused(client: FlaskClient, currency: str, channel: str) -> None:
    error = refused(ask(client, currency=currency, paymentChannel=channel), ErrorCode.CHANNEL_NOT_SUPPORTED, "channels")
    assert "card" in error["details"]


def test_a_currency_that_is_not_active_is_not_listed(client: FlaskClient, database: Database) -> None:
    rows(database, "UPDATE supported_currencies SET is_active = false WHERE code = 'ZAR'")
    assert "ZAR" not in listed(client)


def test_a_currency_that_this_release_does_not_know_is_not_listed(client: FlaskClient, database: Database) -> None:
    rows(
        database,
        "INSERT INTO supported_currencies (code, name, symbol, subunit, min_amount, max_amount)"
        " VALUES ('XOF', 'Franc', 'F', 'centimes', 1, 2)",
    )
    try:
        assert "XOF" not in listed(client)
    finally:
        rows(database, "DELETE FROM supported_currencies WHERE code = 'XOF'")
