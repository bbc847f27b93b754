"""Instants leave as RFC 3339 in UTC, whatever zone they were told in."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.instants import instant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_an_instant_ends_in_z_with_milliseconds() -> None:
    assert instant(NOON + timedelta(microseconds=1500)) == "2026-03-01T12:00:00.001Z"


@pytest.mark.parametrize("hours", [-11, 1, 5.5])
def test_an_instant_of_another_zone_is_shown_in_utc(hours: float) -> None:
    assert instant(NOON.astimezone(timezone(timedelta(hours=hours)))) == "2026-03-01T12:00:00.000Z"


def test_none_stays_none() -> None:
    assert instant(None) is None
