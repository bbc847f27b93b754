"""Reading Paystack's books: patient with what passes, quick to end where nothing will change, and never without end."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.errors import ErrorCode, UnavailableError
from jobs.paystack.answers import Answer, Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.reading import read, read_pages


def says(*answers: Answer[Any]) -> Callable[[], Answer[Any]]:
    said = iter(answers)
    return lambda: next(said)


def test_it_asks_again_after_what_passes() -> None:
    pauses: list[float] = []
    call = says(
        Unknown("lost"),
        NotSent("no connection"),
        NotNow(37.0, "not now"),
        Unknown("lost"),
        Done("at last"),
    )
    assert read(call, pauses.append) == "at last"
    assert pauses == [1.0, 2.0, 37.0, 8.0]


@pytest.mark.parametrize("answer", [Unknown("lost"), NotSent("no connection"), NotNow(1.0, "no quota left")])
def test_it_gives_up_in_the_end(answer: Answer[Any]) -> None:
    pauses: list[float] = []
    with pytest.raises(UnavailableError, match=r"asking Paystack: (lost|no connection|no quota left)"):
        read(lambda: answer, pauses.append)
    assert len(pauses) == 4


@pytest.mark.parametrize("answer", [Refused(403, "no", None), NotSent("bad key", ErrorCode.PAYSTACK_API_ERROR)])
def test_it_gives_up_at_once_where_asking_again_is_of_no_use(answer: Answer[Any]) -> None:
    with pytest.raises(UnavailableError, match=r"asking Paystack: (no|bad key)"):
        read(says(answer), lambda _: None)


@pytest.mark.parametrize("status", [400, 404])
def test_what_does_not_exist_is_none(status: int) -> None:
    assert read(says(Refused(status, "Refund not found", None)), lambda _: None) is None


def test_a_list_always_exists() -> None:
    with pytest.raises(UnavailableError, match="no such list"):
        list(read_pages(lambda _: Refused(404, "nothing here", None), lambda _: None))


def test_pages_are_read_until_one_is_empty_and_not_when_they_repeat() -> None:
    pages = {1: [1, 2], 2: [3], 3: [4, 5], 4: []}
    assert list(read_pages(lambda number: Done(pages[number]), lambda _: None)) == [[1, 2], [3], [4, 5]]
    with pytest.raises(UnavailableError, match="repeats itself"):
        list(read_pages(lambda _: Done([1, 2]), lambda _: None))
