"""What every command begins with: settings from the environment, and logs as they say."""

from __future__ import annotations

from domain.errors import SettingsError
from domain.settings import Settings, load
from ops.logs import configure_logs


def read_settings() -> Settings:
    """Read the environment, and set logging up for this process.

    Raises:
        SettingsError: something is missing or wrong; the message names all of it.

    """
    settings = load()
    try:
        configure_logs(settings.log_level)
    except KeyError:
        message = f"LOG_LEVEL: {settings.log_level!r} is not a level"
        raise SettingsError(message) from None
    return settings
