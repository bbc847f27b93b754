"""What the HTTP server loads in each of its processes: logs set up, then the application."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from domain.settings import load
from ingress.app import create_app
from ops.logs import configure_logs

if TYPE_CHECKING:
    from flask import Flask


def application() -> Flask:
    """Build the application; called after the fork."""
    settings = load()
    configure_logs(settings.log_level)
    app = create_app(settings)
    gc.freeze()  # what is here now stays: the collector need not walk it again and again
    return app
