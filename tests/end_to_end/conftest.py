"""One fleet for all end-to-end tests: its processes take seconds to start, and real ones live long."""

from collections.abc import Generator

import pytest

from tests import services
from tests.end_to_end.fleet import Fleet, running_fleet


@pytest.fixture(scope="session")
def shared_fleet(
    postgres_server: services.Found,
    rabbitmq_server: services.Found,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Fleet]:
    state = tmp_path_factory.mktemp("fleet")
    with (
        services.fresh_database(postgres_server) as database_url,
        services.private_vhost(rabbitmq_server) as rabbitmq_url,
        running_fleet(state, database_url, rabbitmq_url, redis_url) as fleet,
    ):
        yield fleet
        fleet.have_sound_books()


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Fleet:
    """The fleet with a well-behaved sandbox."""
    shared_fleet.session.delete(f"{shared_fleet.sandbox_url}/_sandbox/faults", timeout=10)
    shared_fleet.control("settings", autopay=None, webhook_faults={"duplicate": 0, "reorder": 0, "drop": 0})
    return shared_fleet
