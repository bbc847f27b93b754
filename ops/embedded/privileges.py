"""Which user a stand-in runs as, and what that user can reach."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ops.embedded.supervisor import Owner


def nobody() -> Owner | None:
    """The least of users where we are root, else None (run as ourselves); KeyError where it is unknown."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def run_as(owner: Owner | None, argv: Sequence[str], *, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a short program to its end, from / and without input; the caller judges the exit code."""
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
        cwd="/",
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
    )


def can_enter(owner: Owner | None, directory: Path) -> bool:
    """Asked of the system itself, as that user: modes alone do not tell (parents, ACLs, mounts)."""
    return run_as(owner, ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]).returncode == 0


def give(path: Path, owner: Owner | None) -> None:
    """Make a file or directory the owner's."""
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
