"""`db/schema.sql` is what the migrations make."""

from typing import Any, LiteralString, cast

import psycopg
import pytest

from db.migrate import migrate
from db.snapshot import SNAPSHOT
from tests import services

# Everything that has a meaning, by name and not by number; partitions aside, which come and go.
CATALOGS: dict[str, LiteralString] = {
    "columns": """
        SELECT c.relname, c.relkind::text, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
            AND NOT c.relispartition
    """,
    "tables": """
        SELECT relname, reloptions::text, pg_get_partkeydef(oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    """,
    "constraints": """
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k
        JOIN pg_class c ON c.oid = k.conrelid
        WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
    """,
    "indexes": """
        SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('i', 'I') AND NOT c.relispartition
    """,
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
    "enums": """
        SELECT t.typname, e.enumlabel, row_number() OVER (PARTITION BY t.typname ORDER BY e.enumsortorder)
        FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
    """,
    "triggers": """
        SELECT c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND NOT c.relispartition
    """,
}


def catalog(connection: psycopg.Connection, sql: LiteralString) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(sql).fetchall(), key=repr)


@pytest.mark.parametrize("name", CATALOGS)
def test_the_snapshot_makes_what_the_migrations_make(both: dict[str, tuple[object, object]], name: str) -> None:
    migrated, from_snapshot = both[name]
    assert migrated, "nothing to compare"
    assert from_snapshot == migrated


@pytest.fixture(scope="module")
def both(postgres_server: services.Found) -> dict[str, tuple[object, object]]:
    with services.fresh_database(postgres_server) as one, services.fresh_database(postgres_server) as other:
        migrate(one)
        with psycopg.connect(one) as migrated, psycopg.connect(other) as built:
            built.execute(cast("LiteralString", SNAPSHOT.read_text(encoding="utf-8")))
            return {name: (catalog(migrated, sql), catalog(built, sql)) for name, sql in CATALOGS.items()}
