"""Settings for tests: made from a mapping alone, whatever the machine's environment holds."""

from collections.abc import Mapping

from domain.settings import Settings


class IsolatedSettings(Settings):
    """Settings that read nothing but what they are given."""

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, **_: object):  # noqa: ANN001, ANN206
        return (init_settings,)


def make_settings(env: Mapping[str, str]) -> Settings:
    """Read settings from environment-style names."""
    return IsolatedSettings(**{name.lower(): value for name, value in env.items()})  # pyright: ignore[reportArgumentType]
