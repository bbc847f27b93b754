"""Very many whole numbers in little memory: eight bytes for each, and whether one came twice."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PARTS = 256


class Numbers:
    """Numbers from 0 to 2**64 - 1, kept in parts, so that only one part at a time is sorted or counted."""

    def __init__(self) -> None:
        """Hold none."""
        self._parts = [array("Q") for _ in range(_PARTS)]
        self._is_sorted = [True] * _PARTS

    def update(self, numbers: Iterable[int]) -> None:
        """Add numbers, also those that are there already."""
        for number in numbers:
            part = number % _PARTS
            self._parts[part].append(number)
            self._is_sorted[part] = False

    def __contains__(self, number: int) -> bool:
        """Whether a number was added."""
        part = number % _PARTS
        if not self._is_sorted[part]:
            self._parts[part] = array("Q", sorted(self._parts[part]))
            self._is_sorted[part] = True
        found = bisect_left(self._parts[part], number)
        return found < len(self._parts[part]) and self._parts[part][found] == number

    def repeated(self) -> Iterator[int]:
        """Tell the numbers that were added more than once."""
        for part in self._parts:
            if len(set(part)) < len(part):
                yield from (number for number, times in Counter(part).items() if times > 1)
