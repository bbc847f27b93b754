"""Migrations run once each, by one process at a time, and are not changed afterwards."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from db import migrate as runner
from db.migrate import MigrationError, migrate, read_migrations


def test_the_numbers_have_neither_gap_nor_double() -> None:
    numbers = [migration.number for migration in read_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_second_run_has_nothing_to_do(fresh_url: str) -> None:
    assert migrate(fresh_url) == read_migrations()
    assert migrate(fresh_url) == []


def test_of_two_at_once_one_migrates_and_the_other_finds_it_done(fresh_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        ran = list(threads.map(migrate, [fresh_url, fresh_url]))
    assert sorted(map(len, ran)) == [0, len(read_migrations())]


def test_a_migration_that_was_changed_after_it_ran_is_refused(fresh_url: str) -> None:
    migrate(fresh_url)
    with psycopg.connect(fresh_url) as connection:
        connection.execute("UPDATE schema_migrations SET digest = 'other' WHERE number = 1")
    with pytest.raises(MigrationError, match="0001_spine was changed after it ran"):
        migrate(fresh_url)


def test_a_migration_that_fails_leaves_nothing_of_itself(
    fresh_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_half.sql").write_text("CREATE TABLE half (x int); SELECT 1 / 0;")
    halves = read_migrations(tmp_path)
    monkeypatch.setattr(runner, "read_migrations", lambda: halves)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(fresh_url)
    with psycopg.connect(fresh_url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() == (0,)
