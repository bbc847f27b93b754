"""The way to Postgres: a pool, short transactions, and one place where driver errors become Payfleet's."""

from __future__ import annotations

import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import orjson
import psycopg
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import ConnectionPool, PoolTimeout

from db.cache import Cache, Stale
from domain.errors import ContendedError, ReadOnlyError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that remembers which cached answers its statements have made wrong."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what psycopg gives."""
        super().__init__(*args, **kwargs)
        self.stale: set[Stale] = set()
        self.opened_at = time.monotonic()

    def is_forsaken(self) -> bool:
        """Whether the server has ended this idle connection: only then is there anything to read."""
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))


# Our statements are few, wide and prepared: planning one anew costs more than running it. A plan made while a table was
# empty is kept when it is full, so reading a table whole, the cheapest way then, is ruled out. A process that stalls
# inside a transaction must hold neither its locks nor vacuum's horizon for long.
_SESSION_OPTIONS = (
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c TimeZone=UTC"
    " -c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s"
)
_POOL_WAIT_SECONDS = 5.0  # longer than any statement takes on a healthy day; then the caller hears "unavailable"
# The pool tries to connect again after 1, 2, 4 … seconds; given up, the next caller has it try at once. So however long
# Postgres was away, it is found again within seconds.
_RECONNECT_SECONDS = 3.0
# A session may outlive the maintenance that made it read-only; but while that lasts, new ones are no better.
_READ_ONLY_SESSION_SECONDS = 1.0

set_json_dumps(orjson.dumps)
set_json_loads(orjson.loads)


class Database:
    """A pool of connections in autocommit mode; open it after a fork, once per process."""

    def __init__(self, url: str, *, minimum: int, maximum: int, name: str, cache: Cache | None = None) -> None:
        """Prepare a pool; no connection is made until `open`. What is committed through it is forgotten by `cache`."""
        self._cache = cache or Cache(None)
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=Connection,
            min_size=minimum,
            max_size=maximum,
            timeout=_POOL_WAIT_SECONDS,
            max_lifetime=1800.0,
            reconnect_timeout=_RECONNECT_SECONDS,
            open=False,
            name=name,
            kwargs={
                "autocommit": True,
                "options": _SESSION_OPTIONS,
                "application_name": f"payfleet-{name}",
                "prepare_threshold": 0,
                "connect_timeout": 5,
            },
        )

    def __enter__(self) -> Self:
        """Open the pool in the background: a process may start before Postgres does."""
        self._pool.open(wait=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """Lend a connection on which each statement commits by itself.

        Raises:
            UnavailableError: Postgres cannot be reached, is shutting down, or refuses writes.

        """
        # Taken and put back by hand: the pool's own context would commit, and here nothing is left to commit.
        with translated_errors():
            connection = self._working_connection()
            try:
                yield connection
            except psycopg.errors.ReadOnlySqlTransaction:
                if time.monotonic() - connection.opened_at > _READ_ONLY_SESSION_SECONDS:
                    connection.close()
                raise
            finally:
                # After a rollback as well: a commit whose answer was lost looks like one.
                stale, connection.stale = connection.stale, set()
                self._pool.putconn(connection)
                if stale:
                    self._cache.forget(stale)

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Lend a connection inside one transaction, committed at the end and rolled back on any error.

        Raises:
            UnavailableError: as `connection`; a commit whose answer was lost counts as this too.

        """
        with self.connection() as connection, connection.transaction():
            yield connection

    def _working_connection(self) -> Connection:
        """Take a connection that still leads somewhere: after a restart of Postgres, the pool is full of others."""
        while True:
            connection = self._pool.getconn()
            if not connection.is_forsaken():
                return connection
            connection.close()
            self._pool.putconn(connection)  # which has the pool make a new one


@contextmanager
def translated_errors() -> Generator[None]:
    """Turn "Postgres is not there" into UnavailableError; a broken constraint or bad SQL stays what it is: a defect."""
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise ReadOnlyError(str(error)) from error
    except psycopg.errors.LockNotAvailable as error:
        raise ContendedError(str(error)) from error
    except PoolTimeout as error:
        raise UnavailableError(str(error)) from error
    except (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout) as error:
        raise UnavailableError(str(error).strip() or type(error).__name__) from error
