"""What only the owner of the embedded stack may read: its secrets, made once at random, and its settings."""

import json
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from db.sealing import new_key


def write_environment(state: Path, env: Mapping[str, str]) -> None:
    """Leave the stack's settings for a shell to source, so that other commands of Payfleet speak with it."""
    _write(state / "env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items())))


def keep_secrets(state: Path) -> dict[str, str]:
    """Read the secrets as environment variables, making them the first time."""
    path = state / "secrets.json"
    if not path.exists():
        made = {
            "JWT_SECRET": secrets.token_urlsafe(48),
            "ENCRYPTION_KEY": new_key(),
            "PAYSTACK_SECRET_KEY": f"sk_test_{secrets.token_hex(20)}",
        }
        _write(path, json.dumps(made))
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole; nobody but its owner may ever read it."""
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
