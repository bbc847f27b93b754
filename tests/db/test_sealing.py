"""Sealed at rest: readable with the keys, unreadable without, and the keys can be changed."""

import pytest
from pydantic import SecretStr

from db.sealing import Seal, UnsealError
from db.sealing import new_key as key_text
from domain.errors import SettingsError


def new_key() -> SecretStr:
    return SecretStr(key_text())


def test_what_was_sealed_can_be_opened_and_does_not_show() -> None:
    seal = Seal([new_key()])
    sealed = seal.seal(b"ada@example.com")
    assert b"ada" not in sealed
    assert seal.open(sealed) == b"ada@example.com"
    assert seal.seal(b"ada@example.com") != sealed


def test_keys_are_rotated_by_putting_the_new_one_first() -> None:
    old, new = new_key(), new_key()
    before = Seal([old]).seal(b"before")
    both = Seal([new, old])
    assert both.open(before) == b"before"
    after = both.seal(b"after")
    assert Seal([new]).open(after) == b"after"
    with pytest.raises(UnsealError):
        Seal([old]).open(after)
    with pytest.raises(UnsealError):
        Seal([new]).open(before)


@pytest.mark.parametrize("key", ["short", "x" * 44, "", "é" * 43 + "="])
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY") as refused:
        Seal([SecretStr(key)])
    assert not key or key not in str(refused.value)


def test_a_changed_byte_is_noticed() -> None:
    seal = Seal([new_key()])
    sealed = bytearray(seal.seal(b"ada@example.com"))
    sealed[-1] ^= 1
    with pytest.raises(UnsealError):
        seal.open(bytes(sealed))
    with pytest.raises(UnsealError):
        seal.open(b"")
