"""The tree keeps its manners: modules say what they are for, and are named for it; migrations count up."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("domain", "db", "jobs", "workers", "ingress", "ops", "sandbox", "bench", "tests")
# Names that say where code was put, not what it is.
BANNED = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
MIGRATION = re.compile(r"(\d{4})_[a-z0-9]+(_[a-z0-9]+)*\.sql")


def modules() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def has_docstring(source: str) -> bool:
    return bool(ast.get_docstring(ast.parse(source)))


def is_badly_named(path: Path) -> bool:
    return any(BANNED & set(part.removesuffix(".py").split("_")) for part in path.parts)


def misnumbered(names: Iterable[str]) -> list[str]:
    """The migrations that break the count, which starts at 0001 and leaves none out."""
    wrong: list[str] = []
    for expected, name in enumerate(sorted(names), start=1):
        match = MIGRATION.fullmatch(name)
        if match is None or int(match.group(1)) != expected:
            wrong.append(name)
    return wrong


def test_every_module_says_what_it_is_for() -> None:
    silent = [path.relative_to(ROOT) for path in modules() if not has_docstring(path.read_text(encoding="utf-8"))]
    assert not silent


def test_no_module_is_named_for_being_a_drawer() -> None:
    assert not [path for path in modules() if is_badly_named(path.relative_to(ROOT))]


def test_migrations_are_numbered_without_gaps() -> None:
    assert not misnumbered(path.name for path in (ROOT / "db" / "migrations").glob("*.sql"))


# The rules themselves, shown what they must catch.


def test_a_comment_is_no_docstring() -> None:
    assert not has_docstring("# What this is for.\nX = 1\n")
    assert has_docstring('"""What this is for."""\n')


def test_drawers_are_recognised() -> None:
    assert is_badly_named(Path("db/utils.py"))
    assert is_badly_named(Path("jobs/payment_helpers.py"))
    assert is_badly_named(Path("common/money.py"))
    assert not is_badly_named(Path("domain/database.py"))


def test_gaps_twins_and_bad_names_are_found() -> None:
    assert misnumbered(["0001_spine.sql", "0002_refunds.sql"]) == []
    assert misnumbered(["0001_spine.sql", "0003_refunds.sql"]) == ["0003_refunds.sql"]
    assert misnumbered(["0001_a.sql", "0001_b.sql"]) == ["0001_b.sql"]
    assert misnumbered(["1_spine.sql"]) == ["1_spine.sql"]
