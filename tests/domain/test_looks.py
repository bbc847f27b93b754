"""How often a payment is looked at: soon, seldom, at the end, and not for ever."""

from datetime import timedelta
from itertools import pairwise

import pytest

from domain.channels import PATIENCE, Channel, patience
from domain.looks import first_look_after, is_given_up, next_look_after
from domain.money import Currency

C = Channel
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def looks_at(currency: Currency, channels: list[Channel], until: timedelta) -> list[timedelta]:
    """The ages at which a payment that nobody pays is looked at."""
    ages = [first_look_after(currency, channels)]
    while ages[-1] < until:
        ages.append(ages[-1] + next_look_after(ages[-1], patience(currency, channels)))
    return ages


@pytest.mark.parametrize(
    ("currency", "channels", "minutes"),
    [
        (Currency.NGN, [C.CARD], [4, 12, 36, 60]),
        (Currency.USD, [], [4, 12, 36, 60]),
        (Currency.GHS, [C.MOBILE_MONEY], [24, 72, 216, 360]),
        (Currency.NGN, [C.USSD], [96, 288, 864, 1440]),
        (Currency.NGN, [C.BANK_TRANSFER], [96, 288, 864, 1440]),
        (Currency.NGN, [], [4, 12, 36, 108, 324, 972, 1440]),
        (Currency.NGN, [C.BANK_TRANSFER, C.CARD], [4, 12, 36, 108, 324, 972, 1440]),
    ],
)
def test_the_quickest_way_to_pay_says_when_looks_begin_and_the_slowest_when_they_end(
    currency: Currency, channels: list[Channel], minutes: list[int]
) -> None:
    assert looks_at(currency, channels, patience(currency, channels)) == [n * MINUTE for n in minutes]


@pytest.mark.parametrize("currency", Currency)
@pytest.mark.parametrize("channel", [None, *Channel])
def test_looks_are_few_and_the_last_falls_on_the_end_of_the_customers_time(
    currency: Currency, channel: Channel | None
) -> None:
    channels = [] if channel is None else [channel]
    time = patience(currency, channels)
    ages = looks_at(currency, channels, time)
    assert ages[-1] == time
    assert 4 <= len(ages) <= 7


def test_a_look_that_was_late_is_followed_by_fewer() -> None:
    assert next_look_after(50 * MINUTE, HOUR) == 10 * MINUTE
    assert next_look_after(timedelta(0), HOUR) == MINUTE, "and no clock makes them follow each other at once"


@pytest.mark.parametrize("channel", Channel)
def test_what_does_not_end_is_looked_at_ever_more_seldom_until_it_is_given_up(channel: Channel) -> None:
    time = PATIENCE[channel]
    ages = [age for age in looks_at(Currency.NGN, [channel], time + 8 * DAY) if age > time]
    pauses = [later - earlier for earlier, later in pairwise(ages)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == DAY
    assert min(pauses) >= HOUR
    asked = [age for age in ages if not is_given_up(age, time)]
    assert len(asked) <= 12
    assert is_given_up(ages[-1], time)
