"""Private servers to mistreat: PostgreSQL, RabbitMQ and Redis on ports and data folders of their own.

What tests and campaigns share with others (tests/services.py) may not be killed; these may. Each is started from this
machine's own programs, whether we are root or not, keeps its port and its data from one start to the next, and is gone
with the block it was opened in:

    with PrivateRabbitMQ(state / "rabbitmq") as broker:
        broker.kill()       # kill -9, the whole process tree
        broker.start()      # on the same port, with the data that survived
        broker.raise_memory_alarm()
"""

import os
import random
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Self

import pika
import pika.exceptions
import psutil
import redis

from ops.embedded.ports import LOOPBACK, answers, is_free
from ops.embedded.postgres import EmbeddedPostgres, PostgresUnavailableError
from ops.embedded.supervisor import Child, Supervisor
from tests.services import NotFoundError

# Below the ports systems give to outgoing connections: a client that keeps asking for a dead server's port there ends
# up connected to itself, and then holds the port against the server.
QUIET_PORTS = range(15_000, 30_000)
# Where Debian keeps the servers' programs, off the PATH of ordinary users.
SYSTEM_PROGRAMS = "/usr/sbin"
RABBITMQCTL_SECONDS = 60.0


class PrivateServer(ABC):
    """One server of our own: start, stop, kill and start again as often as wanted."""

    def __init__(self, state: Path) -> None:
        """Keep everything (data, logs) under `state`; nothing runs yet."""
        self.state = state
        self.port = quiet_port()
        self._supervisor: Supervisor | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it; the same after every start."""

    @abstractmethod
    def children(self) -> list[Child]:
        """What to run, the server itself last; called at each start."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._supervisor is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return self._supervisor.pid(self._names[-1])

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped or killed since."""
        return self._supervisor is not None

    def start(self) -> None:
        """Start it and return when it serves.

        Raises:
            NotFoundError: its programs are not on this machine.
            SupervisorError: it does not come up; the message has the end of its log.

        """
        children = self.children()
        self._names = [child.name for child in children]
        supervisor = Supervisor(children, state=self.state)
        supervisor.start()
        self._supervisor = supervisor

    def stop(self) -> None:
        """End it as an administrator would, and wait; harmless when it is not running."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None

    def kill(self) -> None:
        """End every process of it as a power switch would (the page cache survives: this is not a power cut)."""
        if self._supervisor is None:
            return
        doomed: list[psutil.Process] = []
        for name in self._names:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(self._supervisor.pid(name))
                doomed += [process, *process.children(recursive=True)]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._supervisor.stop()
        self._supervisor = None
        psutil.wait_procs(doomed, timeout=10)

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class PrivatePostgres(PrivateServer):
    """A PostgreSQL cluster with the embedded one's settings: scram, checksums, fsync on, never as root."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self._cluster = EmbeddedPostgres(state, port=self.port, report=_quiet)

    @property
    def url(self) -> str:
        return self._cluster.url

    def children(self) -> list[Child]:
        try:
            self._cluster.prepare()
        except PostgresUnavailableError as error:
            raise NotFoundError(str(error)) from error
        return [self._cluster.child()]

    def stop_immediately(self) -> None:
        """Make it drop everything and leave recovery to the next start (`pg_ctl stop -m immediate`)."""
        process = psutil.Process(self.pid)
        process.send_signal(signal.SIGQUIT)
        with suppress(psutil.TimeoutExpired):
            process.wait(timeout=30)
        self.kill()


class PrivateRabbitMQ(PrivateServer):
    """A RabbitMQ node with a port mapper, a cookie and a name of its own, and no plugins."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self._mapper_port = quiet_port()
        self._node = f"payfleet-{secrets.token_hex(4)}@localhost"
        self._environment = {
            "HOME": str(state),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(quiet_port()),
            "RABBITMQ_MNESIA_BASE": str(state / "mnesia"),
            "RABBITMQ_LOG_BASE": str(state / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(state / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(state / "enabled_plugins"),
            # What the machine's own server is configured with is not ours.
            "RABBITMQ_CONF_ENV_FILE": str(state / "no-such-file"),
            # Run the Erlang machine in the script's own process, which then is the one to signal.
            "RUNNING_UNDER_SYSTEMD": "1",
            "LC_ALL": "C.UTF-8",
        }

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/%2F"

    def children(self) -> list[Child]:
        # What Debian has on PATH is a wrapper that insists on a user of its own; the real thing lies beside it.
        server = _real_directory("rabbitmq-server", hint="rabbitmq-server") / "rabbitmq-server"
        mapper = _find_program("epmd", hint="rabbitmq-server")
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / "rabbitmq.conf").write_text("raft.wal_max_size_bytes = 67108864\n", encoding="utf-8")
        (self.state / "enabled_plugins").write_text("[].\n", encoding="utf-8")
        mapper_argv = [mapper, "-port", str(self._mapper_port), "-address", LOOPBACK]
        env = self._environment
        return [
            Child(name="epmd", argv=mapper_argv, env=env, ready=lambda: answers(self._mapper_port)),
            Child(name="rabbitmq", argv=[str(server)], env=env, ready=self._serves, ready_seconds=120),
        ]

    def wipe(self) -> None:
        """Kill it and throw its disk away: queues, messages, users, everything."""
        self.kill()
        shutil.rmtree(self.state / "mnesia", ignore_errors=True)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node; returns what it printed."""
        program = _real_directory("rabbitmqctl", hint="rabbitmq-server") / "rabbitmqctl"
        answer = subprocess.run(
            [str(program), "--quiet", "--node", self._node, *arguments],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=RABBITMQCTL_SECONDS,
        )
        if answer.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def raise_memory_alarm(self) -> None:
        """Make it believe that its memory is full: it stops reading from publishers, and goes on delivering."""
        self.control("set_vm_memory_high_watermark", "0")

    def clear_memory_alarm(self) -> None:
        self.control("set_vm_memory_high_watermark", "0.4")

    def _serves(self) -> bool:
        if not answers(self.port):
            # Pika tells of every refused connection at length.
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True


class PrivateRedis(PrivateServer):
    """A Redis that keeps nothing from one start to the next."""

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def children(self) -> list[Child]:
        program = _find_program("redis-server", hint="redis-server")
        self.state.mkdir(parents=True, exist_ok=True)
        options = ["--bind", LOOPBACK, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        return [Child(name="redis", argv=[program, *options], cwd=self.state, ready=self._serves)]

    def flush(self) -> None:
        """Forget everything, while running."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _serves(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def quiet_port() -> int:
    """A free port that no outgoing connection is given, so that it is still free when a dead server returns."""
    while not is_free(port := random.choice(QUIET_PORTS)):
        pass
    return port


def _find_program(name: str, *, hint: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PROGRAMS])
    program = shutil.which(name, path=path)
    if program is None:
        raise NotFoundError(f"no {name} on PATH nor in {SYSTEM_PROGRAMS}; install {hint} (apt install {hint})")
    return program


def _real_directory(name: str, *, hint: str) -> Path:
    return Path(os.path.realpath(_find_program(name, hint=hint))).parent


def _quiet(_line: str) -> None:
    """Keep the terminal for the campaign's own words."""
