"""What makes two saved codes the same method, and when a card's time is over."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.channels import Channel
from domain.method import Authorization, MethodStatus, PaymentMethod, is_same

CARD = Authorization(code="AUTH_new", email="Ada@Example.com", reusable=True, signature="SIG_1", channel="card")
METHOD = PaymentMethod(
    id=UUID(int=1),
    user_id="user-1",
    status=MethodStatus.ACTIVE,
    authorization_sealed=b"",
    email_sealed=b"",
    type="card",
    signature="SIG_1",
    card_type=None,
    card_brand=None,
    card_last4=None,
    card_exp_month=2,
    card_exp_year=2027,
    bank_name=None,
    account_name=None,
    country_code=None,
    is_default=False,
    merged_into=None,
    failure_code=None,
    failure_message=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("code", "email", "signature", "same"),
    [
        ("AUTH_old", "ada@example.com", "SIG_1", True),  # Paystack's customers have no case
        ("AUTH_old", "ada@example.com", "SIG_2", False),
        ("AUTH_new", "eve@example.com", "SIG_1", False),  # one card, two customers
        ("AUTH_new", "ada@example.com", None, True),
        ("AUTH_old", "ada@example.com", None, False),
    ],
)
def test_a_method_is_told_by_address_and_signature_or_else_by_its_code(
    code: str, email: str, signature: str | None, same: bool
) -> None:
    assert is_same(CARD, code=code, email=email, signature=signature) is same


def test_without_a_signature_only_the_code_tells() -> None:
    direct_debit = replace(CARD, signature=None)
    assert not is_same(direct_debit, code="AUTH_old", email=CARD.email, signature="SIG_1")
    assert is_same(direct_debit, code="AUTH_new", email=CARD.email, signature="SIG_1")


@pytest.mark.parametrize(
    ("now", "expired"),
    [
        (datetime(2027, 2, 28, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2027, 3, 1, tzinfo=UTC), True),
        (datetime(2028, 1, 1, tzinfo=UTC), True),
        (datetime(2026, 12, 1, tzinfo=UTC), False),
    ],
)
def test_a_card_is_good_until_its_month_is_over(now: datetime, expired: bool) -> None:
    assert METHOD.is_expired(now) is expired


def test_what_has_no_expiry_does_not_expire() -> None:
    assert not replace(METHOD, card_exp_month=None).is_expired(datetime(2100, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("channel", "kind", "pays_by"),
    [
        ("card", "card", Channel.CARD),
        ("apple_pay", "card", Channel.CARD),
        (None, "card", Channel.CARD),
        ("direct_debit", "bank_account", Channel.BANK),
    ],
)
def test_a_method_is_a_card_or_a_bank_account(channel: str | None, kind: str, pays_by: Channel) -> None:
    assert replace(CARD, channel=channel).type == kind
    assert replace(METHOD, type=kind).channel is pays_by


def test_secrets_are_not_in_what_a_log_might_print() -> None:
    assert "AUTH_new" not in repr(CARD)
    assert "Example.com" not in repr(CARD)
