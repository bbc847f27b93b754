"""The same error of another payment is the same text, and another error is not."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fingerprint import fingerprint, generalized
from domain.ids import Prefix, reference_of, show


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("its payment does not exist", "its payment does not exist"),
        ("no key of ENCRYPTION_KEY opens it", "no key of ENCRYPTION_KEY opens it"),
        ("refused: USER_NOT_FOUND", "refused: USER_NOT_FOUND"),
        ("initialize_payment: connection lost: ProtocolError", "initialize_payment: connection lost: ProtocolError"),
        ("verify: HTTP 502 without a JSON object", "verify: HTTP 502 without a JSON object"),
        ("At most 4500 of 10,000.50 is left", "At most <n> of <n> is left"),
        ("the list of refunds has no end after 40 pages", "the list of refunds has no end after <n> pages"),
        ("AUTH_8dfhjjdt and AUTH_abcdefgh are not known", "<id> and <id> are not known"),
        ("access code 0peioxfhpn has ended", "access code <id> has ended"),
        ("no customer ada.lovelace+1@example.co.za", "no customer <email>"),
        ("not before 2026-03-01T12:00:00.000Z, nor 2026-03-01 12:00", "not before <time>, nor <time>"),
        ("line one\n   line  two ", "line one line two"),
        ("", ""),
    ],
)
def test_what_names_one_payment_is_taken_out(error: str, expected: str) -> None:
    assert generalized(error) == expected


@given(st.uuids(), st.uuids(), st.integers(1, 9999), st.integers(1, 9999))
def test_two_payments_with_the_same_error_have_the_same_fingerprint(
    one: UUID, other: UUID, sequence: int, another: int
) -> None:
    def error(id_: UUID, number: int) -> str:
        told = (reference_of(id_, number), show(Prefix.REFUND, id_), show(Prefix.PAYMENT_METHOD, id_))
        return f"Paystack has no transaction {told[0]}, which it had opened for {told[1]} ({number}) with {told[2]}"

    assert fingerprint(error(one, sequence)) == fingerprint(error(other, another))


def test_an_id_is_found_however_it_is_written() -> None:
    id_ = uuid4()
    assert {fingerprint(f"no row {text}") for text in (str(id_), id_.hex, show(Prefix.JOB, id_))} == {
        fingerprint("no row job_01jd7v3m9ye5s8x4q2k6t0n1rc")
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("verify: HTTP 500", "verify: HTTP 502"),
        ("verify: HTTP 500", "refund: HTTP 500"),
        ("its payment does not exist", "its refund does not exist"),
    ],
)
def test_different_errors_have_different_fingerprints(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


@given(st.text(max_size=100))
def test_a_generalized_text_has_nothing_more_to_take_out(error: str) -> None:
    once = generalized(error)
    assert generalized(once) == once
    assert fingerprint(once) == fingerprint(error)


def test_pages_of_text_are_cut() -> None:
    assert len(generalized("a-" * 1_000_000)) == 500


def test_a_fingerprint_stays_the_same_from_release_to_release() -> None:
    assert fingerprint("Paystack has no transaction pf-01jd7v3m9ye5s8x4q2k6t0n1rc, which it had opened") == "0aa683b5"
