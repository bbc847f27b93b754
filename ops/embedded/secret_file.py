"""The secrets of the embedded stack: made once at random, kept in a file that only their owner may read."""

import json
import os
import secrets
from pathlib import Path

from db.sealing import new_key


def keep_secrets(state: Path) -> dict[str, str]:
    """Read the secrets as environment variables, making them the first time."""
    path = state / "secrets.json"
    if not path.exists():
        made = {
            "JWT_SECRET": secrets.token_urlsafe(48),
            "ENCRYPTION_KEY": new_key(),
            "PAYSTACK_SECRET_KEY": f"sk_test_{secrets.token_hex(20)}",
        }
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(made, file)
        draft.replace(path)
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return kept
