"""Very many numbers: none is lost, none is made up, and what comes twice is told."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.numbers import Numbers

FEW = st.integers(0, 600) | st.sampled_from([2**63, 2**64 - 1])


@given(st.lists(st.lists(FEW)), FEW)
def test_they_hold_what_a_plain_bag_would(batches: list[list[int]], asked: int) -> None:
    numbers, plain = Numbers(), Counter[int]()
    for batch in batches:
        numbers.update(batch)
        plain.update(batch)
        assert (asked in numbers) == (asked in plain), "between the batches too"
    assert sorted(numbers.repeated()) == sorted(number for number, times in plain.items() if times > 1)
