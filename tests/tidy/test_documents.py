"""The documents say what the code has: every setting, code, queue, job, event and command, and none besides.

Mentioning is enough to count as documented. What is listed is held to exist: in .env.example every name, in
the documents every first cell of a table headed Setting, Error code, Queue, Job, Event, Command or Check, every
`payfleet …` in code, and every `GET /…` that is not Paystack's.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer.main

from domain.books import RULES, Check
from domain.errors import ErrorCode
from domain.events import EventType
from domain.jobs import JobKind, Queue
from domain.settings import Settings
from ingress.openapi.document import document
from ingress.openapi.events import CloudEvent
from ingress.openapi.models import PaystackEvent
from ops.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))}
EVERYTHING_WRITTEN = "\n".join(DOCUMENTS.values())


def settings() -> set[str]:
    """The environment variables that are read: the aliases where there are any, else the fields' names."""
    return {str(field.validation_alias or field.alias or name).upper() for name, field in Settings.model_fields.items()}


def commands(command: object, prefix: str = "") -> Iterator[str]:
    """Every command with the names of the groups it is in."""
    children: dict[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        if not hasattr(child, "commands"):
            yield f"{prefix}{name}"
        yield from commands(child, f"{prefix}{name} ")


COMMANDS = set(commands(typer.main.get_command(app)))
HELD_BY_TABLES = {
    "setting": settings(),
    "error code": {code.value for code in ErrorCode},
    "queue": {queue.value for queue in Queue},
    "job": {kind.value for kind in JobKind},
    "event": {event.value for event in EventType},
    "command": COMMANDS,
    "check": {check.value for check in Check},
}


OPERATIONS = {f"{method.upper()} {path}" for path, item in document()["paths"].items() for method in item}


def operations_named(text: str) -> list[str]:
    """What stands in the form of a method and a path."""
    return re.findall(r"\b(?:GET|POST|PUT|PATCH|DELETE) /[A-Za-z0-9_{}/.-]*[A-Za-z0-9}]", text)


def env_names(text: str) -> list[str]:
    """The names an .env file sets, or would if the line were no comment."""
    return re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]*)=", text, flags=re.MULTILINE)


def listed(text: str) -> Iterator[tuple[str, str]]:
    """The first cells of the tables we hold to the code, each with the heading it stands under."""
    heading = None
    for line in text.splitlines():
        if not line.startswith("|"):
            heading = None
            continue
        first = line.strip("|").split("|")[0].strip()
        if heading is None:
            heading = first.lower()
        elif heading in HELD_BY_TABLES:
            for name in re.findall(r"`(?:payfleet )?([^`]+)`", first):
                yield heading, name


def commands_used(text: str) -> Iterator[str]:
    """What stands behind `payfleet` in code, whether in a line or in a block."""
    for code in (*re.findall(r"`([^`\n]+)`", text), *re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)):
        for line in code.splitlines():
            match = re.match(r"\s*(?:\$ )?payfleet((?: [a-z][a-z-]*)+)", line)
            if match:
                yield match.group(1).strip()


def is_command(words: str, known: Iterable[str]) -> bool:
    """Whether a line starts with a command or names a group: what follows are its arguments."""
    return any(f"{words} ".startswith(f"{name} ") or name.startswith(f"{words} ") for name in known)


def test_the_example_environment_has_every_setting_once_and_no_other() -> None:
    names = env_names((ROOT / ".env.example").read_text(encoding="utf-8"))
    assert sorted(names) == sorted(settings())


@pytest.mark.parametrize("kind", HELD_BY_TABLES)
def test_everything_is_documented(kind: str) -> None:
    missing = {
        name for name in HELD_BY_TABLES[kind] if not re.search(rf"`(payfleet )?{re.escape(name)}\b", EVERYTHING_WRITTEN)
    }
    assert not missing, f"no document speaks of {kind} {sorted(missing)}; say what it is for, in docs/ or README.md"


@pytest.mark.parametrize("check", Check)
def test_the_page_of_the_books_has_each_check_in_the_words_of_the_command(check: Check) -> None:
    rule = RULES[check]
    assert f"| `{check}` | {rule.meaning} | {rule.remedy} |" in DOCUMENTS[ROOT / "docs" / "books.md"]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_met_by_a_test_outside_the_lists_of_codes(code: ErrorCode) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent.name not in {"domain", "tidy"}]
    assert any(re.search(rf"\b{code}\b", path.read_text(encoding="utf-8")) for path in tests), f"nobody has seen {code}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_documented_that_does_not_exist(path: Path) -> None:
    text = DOCUMENTS[path]
    unknown = [f"{kind} {name}" for kind, name in listed(text) if name not in HELD_BY_TABLES[kind]]
    unknown += [f"command {words}" for words in commands_used(text) if not is_command(words, COMMANDS)]
    assert not unknown, f"{path.relative_to(ROOT)} tells of what the code does not have"


def test_the_api_reference_tells_of_every_operation_and_every_field() -> None:
    text = DOCUMENTS[ROOT / "docs" / "api.md"]
    assert set(operations_named(text)) == OPERATIONS
    fields = {name for schema in document()["components"]["schemas"].values() for name in schema.get("properties", ())}
    events = {name for model in (CloudEvent, PaystackEvent) for name in model.model_fields}
    assert {name for name in fields - events if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name != "sandbox.md"], ids=lambda path: path.name)
def test_no_operation_is_told_of_that_does_not_exist(path: Path) -> None:
    assert set(operations_named(DOCUMENTS[path])) <= OPERATIONS


# The rules themselves, shown what they must catch.


def test_names_in_comments_count_and_prose_does_not() -> None:
    assert env_names("A=1\n# B_2=x\n#C=\n# See D=1 for more\n") == ["A", "B_2", "C"]


def test_tables_are_read_under_their_heading_only() -> None:
    text = "| Setting | default |\n|---|---|\n| `PORT` | 1 |\n\n| Colour | |\n|---|---|\n| `RED` | |\n"
    assert list(listed(text)) == [("setting", "PORT")]


def test_operations_are_found_with_their_names_in_place() -> None:
    text = "## GET /a/{b}, POST /a/verify\n\nGET it at `DELETE /openapi.json`."
    assert operations_named(text) == ["GET /a/{b}", "POST /a/verify", "DELETE /openapi.json"]


def test_commands_are_found_in_lines_and_blocks() -> None:
    text = "Run `payfleet web` or\n\n```sh\n$ payfleet dead list --all\necho payfleet\n```\n"
    assert list(commands_used(text)) == ["web", "dead list"]
    assert is_command("dead list", {"dead list"})
    assert is_command("dead", {"dead list"})
    assert is_command("token ada", {"token"})
    assert not is_command("webs", {"web"})
