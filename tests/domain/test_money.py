"""Money is a whole, positive number of subunits with its currency."""

import pytest

from domain.money import Currency, Money


@pytest.mark.parametrize("amount", [1, 100, 99_999_999_900, 2**63 - 1])
def test_a_positive_integer_is_an_amount(amount: int) -> None:
    assert Money(amount, Currency.NGN).amount == amount


@pytest.mark.parametrize("amount", [0, -1, 1.0, 100.5, True, False, "100", None, float("nan")])
def test_anything_else_is_refused(amount: object) -> None:
    with pytest.raises(ValueError, match="positive integer of subunits"):
        Money(amount, Currency.NGN)  # pyright: ignore[reportArgumentType] - the point


@pytest.mark.parametrize(("amount", "shown"), [(1, "NGN 0.01"), (100, "NGN 1.00"), (123_456_789, "NGN 1,234,567.89")])
def test_money_is_shown_in_major_units(amount: int, shown: str) -> None:
    assert str(Money(amount, Currency.NGN)) == shown


def test_equal_amounts_of_two_currencies_differ() -> None:
    assert Money(100, Currency.NGN) != Money(100, Currency.USD)
