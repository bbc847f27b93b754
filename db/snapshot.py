"""Writes `schema.sql`, the schema to read, from a migrated database: `python -m db.snapshot postgresql://…`.

Needs pg_dump. The partitions are left out: they are made as time goes by.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SNAPSHOT = Path(__file__).parent / "schema.sql"

_HEADER = (
    "-- The schema after all migrations, to read. Written by `python -m db.snapshot`; change the migrations instead.\n"
)
_PARTITIONS = "*_[0-9][0-9][0-9][0-9]_[0-9][0-9]"
_NOISE = re.compile(r"^(--.*|\\.*|SET (?!check_function_bodies).*|SELECT pg_catalog\.set_config.*)\n", re.MULTILINE)


def snapshot(url: str) -> str:
    """Read the schema of a database as SQL, without what says nothing."""
    command = [
        "pg_dump",
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--exclude-table",
        _PARTITIONS,
        url,
    ]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - a fixed program
    text = _NOISE.sub("", dump).replace("public.", "").replace(" ON ONLY ", " ON ")
    return _HEADER + re.sub(r"\n{2,}", "\n\n", "\n" + text.strip()) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(sys.argv[1]), encoding="utf-8")
