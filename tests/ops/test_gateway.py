"""`payfleet gateway`, as people see it."""

from db.connection import Database
from domain.quotas import Endpoint, Lane
from jobs.circuit import FAILURES_MAX, Circuit, Pass
from ops.gateway import read_gateway, show_gateway
from tests.stories import settings_for
from workers.roots import make_quota


def test_it_shows_an_open_circuit_and_a_queue_before_a_spent_quota(
    database: Database, database_url: str, redis_url: str
) -> None:
    settings = settings_for(database_url, redis_url=redis_url, paystack_rate_limits="all=600,initialize=3")
    circuit, quota = Circuit(database, "user_service"), make_quota(settings)
    for _ in range(FAILURES_MAX):
        leave = circuit.admit()
        assert isinstance(leave, Pass)
        circuit.failed(leave, "HTTP 503")
    for _ in range(5):
        quota.take(Endpoint.INITIALIZE, Lane.CHECKOUT)
    state = read_gateway(settings)
    [shown] = state["circuits"]
    assert (shown["name"], shown["state"], shown["failuresInARow"]) == ("user_service", "open", FAILURES_MAX)
    initialize = next(quota for quota in state["quotas"] if quota["endpoint"] == "initialize")
    assert (initialize["limit"], initialize["used"]["checkout"]) == (3, 3)
    assert initialize["queueDrainsInSeconds"] > 60
    page = show_gateway(state)
    assert "user_service" in page
    assert "HTTP 503" in page
    assert "3 of 3 (checkout 3); those who wait are through in" in page


def test_it_shows_that_all_is_well_and_that_redis_is_away(database: Database, database_url: str) -> None:
    assert database is not None, "emptied"
    page = show_gateway(read_gateway(settings_for(database_url, redis_url="redis://127.0.0.1:1/0")))
    assert "none has ever failed" in page
    assert "Redis is not there" in page
