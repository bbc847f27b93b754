"""Fixtures every folder may use, and the rule that the gate accepts no skipped test."""

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
import redis

from db.connection import Database
from db.migrate import migrate
from tests import services

FAIL_ON_SKIP = "PAYFLEET_FAIL_ON_SKIP"


class ServicesReport:
    """Tells at the end which servers the tests ran against and what could not run; the gate takes no skip."""

    def __init__(self, *, fail_on_skip: bool) -> None:
        self.fail_on_skip = fail_on_skip
        self.found: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # What is expected to fail is reported as skipped too, and is not what is meant here.
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[report.nodeid] = reason.removeprefix("Skipped: ")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and self.fail_on_skip and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("services")
            for name, how in self.found.items():
                terminalreporter.line(f"{name}: {how}")
        if self.skipped:
            verdict = f"and {FAIL_ON_SKIP} is set: FAILED" if self.fail_on_skip else "NOT tested here"
            terminalreporter.section(f"{len(self.skipped)} skipped, {verdict}", red=True, bold=True)
            for test, reason in self.skipped.items():
                terminalreporter.line(f"{test}: {reason}", red=True)


_report = pytest.StashKey[ServicesReport]()


def pytest_configure(config: pytest.Config) -> None:
    report = ServicesReport(fail_on_skip=os.environ.get(FAIL_ON_SKIP, "") not in {"", "0"})
    config.stash[_report] = report
    config.pluginmanager.register(report)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Generator[services.Found]:
    """The Postgres server the tests may create databases on."""
    try:
        with services.postgres(os.environ) as found:
            pytestconfig.stash[_report].found["Postgres"] = found.how
            yield found
    except services.NotFoundError as error:
        pytest.skip(f"Postgres: {error}")


@pytest.fixture(scope="session")
def database_url(postgres_server: services.Found) -> Generator[str]:
    """A fresh, empty database for this session."""
    with services.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_url(database_url: str) -> str:
    """The session's database, with its tables."""
    migrate(database_url)
    return database_url


@pytest.fixture(scope="session")
def session_database(migrated_url: str) -> Generator[Database]:
    with Database(migrated_url, minimum=2, maximum=24, name="tests") as database:
        yield database


@pytest.fixture
def database(session_database: Database) -> Database:
    """A database whose tables are empty and whose clock is right."""
    with session_database.connection() as connection:
        connection.execute(_EMPTY)
    return session_database


# Deleted, not truncated: with a handful of rows that is many times faster, and there are many tests.
_EMPTY = """
WITH a AS (DELETE FROM payments), b AS (DELETE FROM payment_history), c AS (DELETE FROM payment_attempts),
    d AS (DELETE FROM idempotency_keys), e AS (DELETE FROM webhook_events), f AS (DELETE FROM events),
    g AS (DELETE FROM jobs), i AS (DELETE FROM live_orders), j AS (DELETE FROM refunds),
    k AS (DELETE FROM payment_methods), l AS (DELETE FROM circuits),
    h AS (UPDATE supported_currencies SET is_active = true)
UPDATE test_clock SET clock_offset = interval '0'
"""


@pytest.fixture(scope="session")
def rabbitmq_server(pytestconfig: pytest.Config) -> services.Found:
    """The RabbitMQ server the tests may make virtual hosts on."""
    try:
        found = services.rabbitmq(os.environ)
    except services.NotFoundError as error:
        pytest.skip(f"RabbitMQ: {error}")
    pytestconfig.stash[_report].found["RabbitMQ"] = found.how
    return found


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: services.Found) -> Generator[str]:
    """A RabbitMQ, in a virtual host of its own where one can be made."""
    with services.private_vhost(rabbitmq_server) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> Generator[str]:
    """A Redis database for the tests, emptied before and after."""
    try:
        with services.redis_server(os.environ) as found, redis.Redis.from_url(found.url) as client:
            pytestconfig.stash[_report].found["Redis"] = found.how
            client.flushdb()
            yield found.url
            client.flushdb()
    except services.NotFoundError as error:
        pytest.skip(f"Redis: {error}")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser for the tests marked so."""
    try:
        return services.chromium()
    except services.NotFoundError as error:
        pytest.skip(f"browser: {error}")


@pytest.fixture
def state() -> Generator[Path]:
    """A state directory Postgres can reach, unlike tmp_path when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="payfleet-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / ".payfleet"
