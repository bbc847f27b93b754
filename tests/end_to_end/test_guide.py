"""Every command of the guide, run as it stands, page after page in one shell against the real processes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.fleet import Fleet

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
_COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """The pages in the order in which the first one lists them."""
    start = GUIDE / "README.md"
    listed = re.findall(r"\]\((\d[^)]+\.md)\)", start.read_text(encoding="utf-8"))
    return [start, *(GUIDE / name for name in listed)]


def script() -> str:
    """All commands, each page announced, so that a failure says where it happened."""
    parts = ["set -euo pipefail"]
    for page in pages():
        for block in _COMMANDS.findall(page.read_text(encoding="utf-8")):
            shown = block.strip().splitlines()[0]
            parts += [f"echo '== {page.name}: {shown.replace(chr(39), '')}'", block]
    return "\n".join(parts)


def test_the_guide_lists_all_its_pages() -> None:
    assert sorted(pages()) == sorted(GUIDE.glob("*.md"))


def test_every_command_of_the_guide_does_what_the_guide_says(fleet: Fleet, tmp_path: Path) -> None:
    missing = [program for program in ("bash", "curl", "jq") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"the guide's commands need {', '.join(missing)}")
    program = tmp_path / "payfleet"  # the command, whether it is installed or not
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ops "$@"\n')
    program.chmod(0o755)
    environment = os.environ | fleet.env
    environment |= {
        "PAYFLEET": fleet.web_url,
        "SANDBOX": fleet.sandbox_url,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(GUIDE.parents[1]),
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        ["bash", "-c", script()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("== ") >= 15
