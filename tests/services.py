"""Finds the servers the tests talk to: those the environment names, those on loopback, or the embedded one.

Nothing is pretended: what is found is a real server, and what is not found is skipped aloud (and is a failure
where PAYFLEET_FAIL_ON_SKIP is set, as in the CI gate).
"""

import fcntl
import getpass
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pika
import pika.exceptions
import psycopg
import redis
from psycopg.sql import SQL, Identifier

from ops.embedded.ports import answers
from ops.embedded.postgres import EmbeddedPostgres, PostgresUnavailableError

POSTGRES_PORT = 5432
RABBITMQ_PORT = 5672
REDIS_PORT = 6379
# Kept away from 0, where a developer's own data would be.
REDIS_DATABASES = range(15, 0, -1)


class NotFoundError(Exception):
    """No such server here; the message says what was tried and what to set."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A server, and the words for it in the report."""

    url: str
    how: str


@contextmanager
def postgres(environment: Mapping[str, str]) -> Generator[Found]:
    """A Postgres server on which we may create databases."""
    given = environment.get("DATABASE_URL")
    if given:
        yield Found(url=given, how="DATABASE_URL")
        return
    for role in dict.fromkeys(("root", "postgres", getpass.getuser())):
        url = f"postgresql://{quote(role)}@127.0.0.1:{POSTGRES_PORT}/postgres"
        if answers(POSTGRES_PORT) and _can_create_databases(url):
            yield Found(url=url, how=f"127.0.0.1:{POSTGRES_PORT} as {role}")
            return
    with tempfile.TemporaryDirectory(prefix="payfleet-tests-", ignore_cleanup_errors=True) as directory:
        # Where the tests run as root, the server does not, and has to get in.
        Path(directory).chmod(0o711)
        try:
            with EmbeddedPostgres(Path(directory) / "state").running() as url:
                yield Found(url=url, how="embedded")
        except PostgresUnavailableError as error:
            raise NotFoundError(str(error)) from error


@contextmanager
def fresh_database(server: Found) -> Generator[str]:
    """A database nobody else knows, gone afterwards."""
    name = f"payfleet_test_{secrets.token_hex(6)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def rabbitmq(environment: Mapping[str, str]) -> Found:
    """A RabbitMQ that lets us in."""
    given = environment.get("RABBITMQ_URL")
    url = given or f"amqp://guest:guest@127.0.0.1:{RABBITMQ_PORT}/%2F"
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except (pika.exceptions.AMQPError, OSError) as error:
        message = f"no RabbitMQ at {_without_password(url)} ({error!r}); set RABBITMQ_URL"
        raise NotFoundError(message) from error
    return Found(url=url, how="RABBITMQ_URL" if given else f"127.0.0.1:{RABBITMQ_PORT}")


@contextmanager
def private_vhost(server: Found) -> Generator[str]:
    """A virtual host of our own where this machine's rabbitmqctl may make one, else the one of the URL."""
    name = f"payfleet-test-{secrets.token_hex(6)}"
    parts = urlsplit(server.url)
    local = parts.hostname in {"127.0.0.1", "localhost"}
    if not (local and shutil.which("rabbitmqctl") and _rabbitmqctl("add_vhost", name)):
        yield server.url
        return
    try:
        _rabbitmqctl("set_permissions", "-p", name, parts.username or "guest", ".*", ".*", ".*")
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        _rabbitmqctl("delete_vhost", name)


@contextmanager
def redis_server(environment: Mapping[str, str]) -> Generator[Found]:
    """A Redis, and in it a database no other run of the tests uses meanwhile."""
    given = environment.get("REDIS_URL")
    with _redis_database() as database:
        url = given or f"redis://127.0.0.1:{REDIS_PORT}/{database}"
        try:
            with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
                client.ping()
        except redis.RedisError as error:
            message = f"no Redis at {_without_password(url)} ({error!r}); set REDIS_URL"
            raise NotFoundError(message) from error
        yield Found(url=url, how="REDIS_URL" if given else f"127.0.0.1:{REDIS_PORT}, database {database}")


@contextmanager
def _redis_database() -> Generator[int]:
    for database in REDIS_DATABASES:
        lock = Path(tempfile.gettempdir(), f"payfleet-tests-{getpass.getuser()}-redis-{database}.lock")
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield database
            return
    message = "every Redis database for tests is in use by another run"
    raise NotFoundError(message)


def chromium() -> str:
    """A Chromium (or its sibling) installed by the system, for the tests that drive a page."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = os.environ.get("CHROMIUM") or shutil.which(name)
        if path:
            return path
    message = "no chromium on PATH; install one, or set CHROMIUM to its path"
    raise NotFoundError(message)


def _can_create_databases(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row == (True,)


def _rabbitmqctl(*arguments: str) -> bool:
    try:
        answer = subprocess.run(["rabbitmqctl", "--quiet", *arguments], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}"
