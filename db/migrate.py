"""Runs the numbered migrations, each once, in order, by one process at a time."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString, cast

import psycopg

from db.clock import ensure_partitions
from db.connection import Connection
from domain.errors import PayfleetError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK_KEY = 0x70617966  # "payf"; any number that nobody else on this database uses
_LOCK_POLL_SECONDS = 0.2

_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY, name text NOT NULL, digest bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = "SELECT number, digest FROM schema_migrations"
_RECORD = "INSERT INTO schema_migrations (number, name, digest) VALUES (%s, %s, %s)"
_TIMEOUTS = "SET LOCAL lock_timeout = '4s'; SET LOCAL statement_timeout = '60s'"


class MigrationError(PayfleetError):
    """The database and the migrations of this release do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the text, to notice a file that was changed after it ran."""
        return hashlib.sha256(self.sql.encode()).digest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Read the files `NNNN_name.sql` in order."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [Migration(int(f.name[:4]), f.stem[5:], f.read_text(encoding="utf-8")) for f in files]


def migrate(url: str) -> list[Migration]:
    """Bring a database up to this release and return the migrations that ran.

    Raises:
        MigrationError: a migration that already ran was changed since.

    """
    with Connection.connect(url, autocommit=True) as connection:
        # Polled, not waited for: a session that waits in pg_advisory_lock() holds a snapshot, and that would block a
        # CREATE INDEX CONCURRENTLY of the one that runs.
        while not _try_lock(connection):
            time.sleep(_LOCK_POLL_SECONDS)  # noqa: TID251 - the pause of this loop
        connection.execute("SET client_min_messages = warning")
        connection.execute(_CREATE_LEDGER)
        done = list(_run_missing(connection))
        ensure_partitions(connection)
        return done


def _try_lock(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK_KEY]).fetchone()
    return row is not None and bool(row[0])


def _run_missing(connection: psycopg.Connection) -> Iterator[Migration]:
    applied = {number: bytes(digest) for number, digest in connection.execute(_APPLIED).fetchall()}
    for migration in read_migrations():
        if migration.number in applied:
            if applied[migration.number] != migration.digest:
                message = f"migration {migration.number:04d}_{migration.name} was changed after it ran"
                raise MigrationError(message)
            continue
        with connection.transaction():
            connection.execute(_TIMEOUTS)
            connection.execute(cast("LiteralString", migration.sql))  # a file of ours, not input
            connection.execute(_RECORD, [migration.number, migration.name, migration.digest])
        yield migration
