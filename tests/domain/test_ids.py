"""Identifiers: every UUID has one text, every text at most one UUID, and texts sort as their UUIDs do."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import MalformedIdError, Prefix, parse, pattern_of, payment_of, reference_of, show

SOME_ID = UUID("0193aa11-0000-7000-8000-000000000001")


@given(st.uuids(), st.sampled_from(Prefix))
def test_what_is_shown_can_be_read_back(value: UUID, prefix: Prefix) -> None:
    assert parse(prefix, show(prefix, value)) == value


@given(st.uuids(), st.uuids())
def test_texts_sort_as_their_ids_so_uuid7s_sort_by_time(one: UUID, other: UUID) -> None:
    assert (one < other) == (show(Prefix.PAYMENT, one) < show(Prefix.PAYMENT, other))


@pytest.mark.parametrize("value", [UUID(int=0), UUID(int=2**128 - 1)])
def test_the_smallest_and_the_largest_id_fit(value: UUID) -> None:
    text = show(Prefix.PAYMENT, value)
    assert len(text) == len("pay_") + 26
    assert parse(Prefix.PAYMENT, text) == value


@given(st.text(max_size=40))
def test_arbitrary_text_is_read_as_its_only_spelling_or_refused(text: str) -> None:
    try:
        value = parse(Prefix.PAYMENT, text)
    except MalformedIdError:
        return
    assert show(Prefix.PAYMENT, value) == text


GOOD = show(Prefix.PAYMENT, SOME_ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay_",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        GOOD.replace("pay_", "evt_"),
        GOOD.replace("pay_", ""),
        GOOD[:-1] + "u",  # not in Crockford's alphabet
        GOOD[:-1] + "\u0661",  # a digit, but not one of ours
        "pay_8" + "0" * 25,  # one bit too many
        "pay_!" + "0" * 25,
        str(SOME_ID),
    ],
)
def test_a_malformed_id_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdError):
        parse(Prefix.PAYMENT, text)


@given(st.uuids(), st.integers(min_value=1, max_value=9999))
def test_a_reference_leads_back_to_its_payment(payment: UUID, sequence: int) -> None:
    assert payment_of(reference_of(payment, sequence)) == (payment, sequence)


@given(st.uuids(), st.integers(min_value=1, max_value=9999))
def test_a_reference_has_only_the_letters_paystack_takes(payment: UUID, sequence: int) -> None:
    assert set(reference_of(payment, sequence)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.=")


def test_the_first_reference_has_no_number() -> None:
    assert reference_of(SOME_ID, 1) == "pf-" + GOOD.removeprefix("pay_")
    assert reference_of(SOME_ID, 2) == reference_of(SOME_ID, 1) + ".2"


@pytest.mark.parametrize("tail", [".", ".0", ".1", ".02", ".2.3", ".x", ".-2", ".12345", ".\u0662", " ", ".2 "])
def test_a_reference_that_was_not_made_here_is_refused(tail: str) -> None:
    with pytest.raises(MalformedIdError):
        payment_of(reference_of(SOME_ID, 1) + tail)


@pytest.mark.parametrize("reference", ["", "pf-", "T123456789", "pf-" + "z" * 26, GOOD])
def test_a_foreign_reference_is_refused(reference: str) -> None:
    with pytest.raises(MalformedIdError):
        payment_of(reference)


@given(st.uuids(), st.sampled_from(Prefix))
def test_every_identifier_fits_its_pattern(value: UUID, prefix: Prefix) -> None:
    assert re.search(pattern_of(prefix), show(prefix, value))


@given(st.text(alphabet="0123456789abcdefghijklmnopqrstuvwxyz", min_size=25, max_size=27))
def test_a_pattern_takes_what_can_be_read_and_nothing_else(tail: str) -> None:
    text = f"pay_{tail}"
    try:
        parse(Prefix.PAYMENT, text)
    except MalformedIdError:
        assert not re.search(pattern_of(Prefix.PAYMENT), text)
    else:
        assert re.search(pattern_of(Prefix.PAYMENT), text)
