"""The ways to pay: each flag switches off what it names, in every currency, and nothing else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.channels import CHANNELS_OF, PATIENCE, Channel, Features, available_channels, offered_channels, patience
from domain.errors import ErrorCode, RefusedError
from domain.money import Currency
from tests.stories import settings_for

EVERYTHING = Features()
FLAGS: dict[str, set[Channel]] = {
    "enable_card_payments": {Channel.CARD, Channel.APPLE_PAY},
    "enable_bank_transfer": {Channel.BANK_TRANSFER},
    "enable_mobile_money": {Channel.MOBILE_MONEY},
    "enable_ussd": {Channel.USSD},
}
EVERY_WAY = [(currency, channel) for currency in Currency for channel in Channel]


def features(**flags: Any) -> Features:
    return settings_for("postgresql://", **flags).features


def refusal(currency: Currency, asked: list[Channel], given: Features) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        offered_channels(currency, asked, given)
    return refused.value


def test_every_currency_has_its_channels_and_every_channel_its_patience() -> None:
    assert set(CHANNELS_OF) == set(Currency)
    assert set(PATIENCE) == set(Channel)
    assert set().union(*CHANNELS_OF.values()) == set(Channel), "no channel is there for nothing"


def test_by_default_everything_is_on() -> None:
    assert features() == EVERYTHING


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(("currency", "channel"), EVERY_WAY)
def test_a_flag_refuses_its_channels_in_every_currency_and_no_other(
    flag: str, currency: Currency, channel: Channel
) -> None:
    given = features(**{flag: False})
    if channel in FLAGS[flag]:
        error = refusal(currency, [channel], given)
        assert (error.code, error.field) == (ErrorCode.FEATURE_DISABLED, "channels")
    elif channel in CHANNELS_OF[currency]:
        assert offered_channels(currency, [channel], given) == (channel,)


@pytest.mark.parametrize(("currency", "channel"), EVERY_WAY)
def test_a_channel_that_the_currency_does_not_have_is_not_supported(currency: Currency, channel: Channel) -> None:
    if channel in CHANNELS_OF[currency]:
        assert offered_channels(currency, [channel], EVERYTHING) == (channel,)
    else:
        error = refusal(currency, [channel], EVERYTHING)
        assert (error.code, error.field) == (ErrorCode.CHANNEL_NOT_SUPPORTED, "channels")
        assert error.details == f"It has {', '.join(sorted(CHANNELS_OF[currency]))}."


@pytest.mark.parametrize("currency", Currency)
def test_without_multi_currency_only_naira_is_taken(currency: Currency) -> None:
    given = features(enable_multi_currency=False)
    if currency is Currency.NGN:
        assert offered_channels(currency, [Channel.CARD], given) == (Channel.CARD,)
    else:
        error = refusal(currency, [Channel.CARD], given)
        assert (error.code, error.field) == (ErrorCode.FEATURE_DISABLED, "currency")
        assert available_channels(currency, given) == ()


@pytest.mark.parametrize("currency", Currency)
def test_who_names_no_channel_gets_those_that_are_on(currency: Currency) -> None:
    assert offered_channels(currency, [], EVERYTHING) == (), "the choice is Paystack's"
    given = features(enable_bank_transfer=False)
    left = offered_channels(currency, [], given)
    if Channel.BANK_TRANSFER in CHANNELS_OF[currency]:
        assert set(left) == CHANNELS_OF[currency] - {Channel.BANK_TRANSFER}
    else:
        assert left == ()


def test_where_nothing_is_left_the_currency_is_off() -> None:
    given = features(enable_card_payments=False)
    assert refusal(Currency.USD, [], given).code is ErrorCode.FEATURE_DISABLED
    assert available_channels(Currency.USD, given) == ()


def test_one_channel_that_is_off_refuses_the_whole_request() -> None:
    error = refusal(Currency.NGN, [Channel.CARD, Channel.USSD], features(enable_ussd=False))
    assert "ussd" in error.message


def test_channels_are_sent_once_each_in_the_order_asked() -> None:
    asked = [Channel.USSD, Channel.CARD, Channel.USSD]
    assert offered_channels(Currency.NGN, asked, EVERYTHING) == (Channel.USSD, Channel.CARD)


def test_the_slowest_channel_decides_how_long_a_customer_has() -> None:
    assert patience(Currency.NGN, [Channel.CARD]) == timedelta(hours=1)
    assert patience(Currency.NGN, [Channel.CARD, Channel.BANK_TRANSFER]) == timedelta(hours=24)
    assert patience(Currency.NGN, []) == timedelta(hours=24)
    assert patience(Currency.USD, []) == timedelta(hours=1)


def test_what_is_listed_can_be_asked_for() -> None:
    given = replace(EVERYTHING, channels_off=frozenset({Channel.CARD, Channel.QR}))
    for currency in Currency:
        for channel in available_channels(currency, given):
            assert offered_channels(currency, [channel], given) == (channel,)
