"""Builds the virtual environment from a hash-locked requirements file, with the standard library alone.

Run by make before anything else (`python -m ops.bootstrap requirements-embedded.txt`). It writes down what
it installed, so that the next run does nothing until a lock, the interpreter or pyproject.toml changes.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD_NAME = "payfleet-installed.json"
PIP_OPTIONS = ("-qq", "--disable-pip-version-check", "--no-input")


def main() -> int:
    """Make the environment hold the named lock and the project itself; 0 when it does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", help="a requirements file with hashes, beside pyproject.toml")
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    options = parser.parse_args()
    venv = options.venv.absolute()
    try:
        provide(venv, ROOT / options.lock)
    except subprocess.CalledProcessError as error:
        print(f"\nThe environment in {venv} could not be built: {error}", file=sys.stderr)
        return 1
    except EnvironmentUnavailableError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


class EnvironmentUnavailableError(Exception):
    """This Python can make no virtual environment; the message says what to install."""


def provide(venv: Path, lock: Path) -> None:
    """Install the lock into the environment, unless it is there already."""
    foundation = {
        "interpreter": f"{sys.version} {sysconfig.get_platform()} {os.path.realpath(sys.executable)}",
        # Scripts in an environment hold absolute paths: one that was moved or copied is of no use.
        "place": f"{venv} for {ROOT}",
    }
    wanted = foundation | {"pyproject.toml": _digest(ROOT / "pyproject.toml"), lock.name: _digest(lock)}
    installed = _installed(venv)
    if wanted.items() <= installed.items():
        return
    if not (foundation.items() <= installed.items() and _locks_unchanged(installed)):
        if venv.exists():
            print(f"Rebuilding {venv}: a lock, the interpreter or the project's place has changed.", flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        installed = {}
        _create(venv)
    packages = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    print(f"Installing {lock.name} into {venv} (up to {packages} packages, each checked by hash) …", flush=True)
    _pip(venv, "install", *PIP_OPTIONS, "--require-hashes", "-r", str(lock))
    _pip(venv, "install", *PIP_OPTIONS, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    record = json.dumps(installed | wanted, indent=2)
    (venv / RECORD_NAME).write_text(f"{record}\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "absent"


def _installed(venv: Path) -> dict[str, str]:
    if not (venv / "bin" / "python").exists():
        return {}
    try:
        return json.loads((venv / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _locks_unchanged(installed: dict[str, str]) -> bool:
    return all(installed[name] == _digest(ROOT / name) for name in installed if name.startswith("requirements"))


def _create(venv: Path) -> None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        return
    # Debian ships Python without ensurepip; a pip from outside can fill an environment too.
    if importlib.util.find_spec("venv") and importlib.util.find_spec("pip"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    message = (
        f"{sys.executable} can make no virtual environment: its venv or ensurepip module is missing.\n"
        f"On Debian and Ubuntu: apt-get install python3-venv (or python{version}-venv). Then run make again."
    )
    raise EnvironmentUnavailableError(message)


def _pip(venv: Path, *arguments: str) -> None:
    python = str(venv / "bin" / "python")
    inside = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False)
    pip = [python, "-m", "pip"] if inside.returncode == 0 else [sys.executable, "-m", "pip", "--python", python]
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PIP_REQUIRE_VIRTUALENV", "PIP_USER"}
    }
    subprocess.run([*pip, *arguments], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    sys.exit(main())
