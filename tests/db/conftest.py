"""Databases of a test's own, for what a shared one cannot show."""

from collections.abc import Generator

import pytest

from tests import services


@pytest.fixture
def fresh_url(postgres_server: services.Found) -> Generator[str]:
    """An empty database that only this test knows."""
    with services.fresh_database(postgres_server) as url:
        yield url
