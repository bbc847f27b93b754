"""Settings for tests: made from a mapping alone, whatever the machine's environment holds."""

from collections.abc import Mapping

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from domain.settings import Settings


class IsolatedSettings(Settings):
    """Settings that read nothing but what they are given."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def make_settings(env: Mapping[str, str]) -> Settings:
    """Read settings from environment-style names."""
    return IsolatedSettings(**{name.lower(): value for name, value in env.items()})  # pyright: ignore[reportArgumentType]
