"""Where the campaign plays: servers of its own, Payfleet's processes, and a fault proxy on every way between them."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import psycopg

from bench.chaos.clocks import SteppingClocks
from bench.chaos.plan import LINKS
from bench.chaos.proxy import Link
from db.migrate import migrate
from db.sealing import new_key
from ops.embedded.ports import LOOPBACK, answers
from ops.embedded.supervisor import Child, Supervisor
from tests.servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis, quiet_port

WORKERS = ("worker-1", "worker-2")
_PROCESSES = ("sandbox", "web", "relay", *WORKERS, "scheduler")
# Their clocks can be stepped: the others have no business with the wall clock, but for tokens that expire.
_CLOCKED = ("relay", "worker-2", "scheduler")
_WATCH_SECONDS = 0.1
# What the shell may hold and the campaign decides itself.
_FOREIGN = (
    *("DATABASE_READ_REPLICA_URL", "JWT_PUBLIC_KEY", "JWT_ISSUER", "JWT_AUDIENCE"),
    *("PAYSTACK_CALLBACK_URL", "USER_SERVICE_URL", "ORDER_SERVICE_URL"),
)


class Arena:
    """The servers, the processes and the links, each by name."""

    def __init__(self, state: Path, *, seed: int) -> None:
        self._state = state
        self._seed = seed
        self.postgres = PrivatePostgres(state / "postgres")
        self.rabbitmq = PrivateRabbitMQ(state / "rabbitmq")
        self.redis = PrivateRedis(state / "redis")
        self.clocks = SteppingClocks(state)
        self.links: dict[str, Link] = {}
        self.web_port, self.sandbox_port = quiet_port(), quiet_port()
        self.environment = {
            "PORT": str(self.web_port),
            "PAYSTACK_SECRET_KEY": f"sk_test_{secrets.token_hex(8)}",
            "JWT_SECRET": secrets.token_urlsafe(48),
            "ENCRYPTION_KEY": new_key(),
            "LOG_LEVEL": "info",
            # The sandbox keeps to no published limit here; its 429s are the faults.
            "PAYSTACK_RATE_LIMITS": "all=1000000",
        }
        self._supervisors: dict[str, Supervisor] = {}
        self._changing = threading.RLock()
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Arena"]:
        """Start everything, and stop it whatever happens."""
        for name in _FOREIGN:
            os.environ.pop(name, None)
        async with AsyncExitStack() as stack:
            for server in (self.postgres, self.redis, self.rabbitmq):
                stack.push_async_callback(asyncio.to_thread, server.stop)
                await asyncio.to_thread(server.start)
            for name in LINKS:
                self.links[name] = await stack.enter_async_context(Link(name, self._upstream(name), seed=self._seed))
            self._http = await stack.enter_async_context(aiohttp.ClientSession())
            await asyncio.to_thread(migrate, self.postgres.url)
            stack.push_async_callback(asyncio.to_thread, self._stop_all)
            for name in _PROCESSES:
                await asyncio.to_thread(self.start, name)
            stack.enter_context(self._watched())
            yield self

    def _upstream(self, link: str) -> int:
        return {
            "postgres": self.postgres.port,
            "rabbitmq": self.rabbitmq.port,
            "redis": self.redis.port,
            "paystack": self.sandbox_port,
            "web": self.web_port,
        }[link.partition("-")[2]]

    # Processes

    def start(self, name: str, *, module: str = "ops") -> None:
        """Start a process and have it started again whenever it dies."""
        role = name.partition("-")[0]
        listens = {"web": self.web_port, "sandbox": self.sandbox_port}.get(name)
        child = Child(
            name=name,
            argv=[sys.executable, "-m", module, *([role, *self._options(name)] if module == "ops" else [])],
            env=self._environment_of(role) | (self.clocks.environment(name) if name in _CLOCKED else {}),
            ready=lambda: listens is None or answers(listens),
            stop_seconds=35,
        )
        # Killed on purpose and often, it is started again at once.
        supervisor = Supervisor([child], state=self._state / name, report=_quiet, backoff_max_seconds=0.5)
        supervisor.start()
        with self._changing:
            self._supervisors[name] = supervisor

    def stop(self, name: str) -> None:
        """Stop a process as a deploy does, and wait for its end."""
        with self._changing:
            supervisor = self._supervisors.pop(name)
        supervisor.stop()

    def kill(self, name: str) -> None:
        """End a process and its children as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self._supervisors[name].pid(name), signal.SIGKILL)

    def kill_server_process(self) -> None:
        """End the process that serves requests, below the one that would start it again; that one too if it is new."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._supervisors["web"].pid("web")).children()
            for child in children:
                child.kill()
            if children:
                return
        self.kill("web")

    def restarts(self) -> dict[str, int]:
        """How often each process had to be started again."""
        return {name: supervisor.restarts(name) for name, supervisor in self._supervisors.items()}

    def log(self, name: str) -> Path:
        """What a process said."""
        return self._state / name / "logs" / f"{name}.log"

    def _options(self, name: str) -> list[str]:
        match name:
            case "web":
                return ["--host", LOOPBACK]
            case "sandbox":
                webhook_url = f"http://{LOOPBACK}:{self.links['paystack-web'].port}/webhooks/paystack"
                key = self.environment["PAYSTACK_SECRET_KEY"]
                options = ["--port", str(self.sandbox_port), "--secret-key", key, "--seed", str(self._seed)]
                return [*options, "--webhook-url", webhook_url]
            case _:
                return []

    def _environment_of(self, role: str) -> dict[str, str]:
        def port(server: str, default: int) -> int:
            link = self.links.get(f"{role}-{server}")
            return link.port if link is not None else default

        database_url = self.postgres.url.replace(f":{self.postgres.port}/", f":{port('postgres', 1)}/")
        return {
            **self.environment,
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": f"amqp://guest:guest@{LOOPBACK}:{port('rabbitmq', 1)}/%2F",
            "REDIS_URL": f"redis://{LOOPBACK}:{port('redis', 1)}/0",
            "PAYSTACK_BASE_URL": f"http://{LOOPBACK}:{port('paystack', 1)}",
        }

    @contextmanager
    def _watched(self) -> Generator[None]:
        """Have dead processes started again."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(_WATCH_SECONDS):
                with self._changing:
                    for supervisor in self._supervisors.values():
                        supervisor.run_once()

        watcher = threading.Thread(target=watch, name="watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _stop_all(self) -> None:
        with self._changing:
            supervisors = list(self._supervisors.values())
            self._supervisors.clear()
        for supervisor in reversed(supervisors):
            supervisor.stop()

    def check_books(self) -> dict[str, Any]:
        """What Payfleet itself finds wrong in its books; raises RuntimeError when it cannot look."""
        argv = [sys.executable, "-m", "ops", "check-books", "--since", "7d", "--quiet-minutes", "1", "--json"]
        env = {**os.environ, **self._environment_of("worker")}
        answer = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=300)
        if answer.returncode not in {0, 1}:
            raise RuntimeError(f"check-books ended with {answer.returncode}: {answer.stderr[-500:]}")
        return json.loads(answer.stdout)

    # The sandbox, and looks at our database beside the links

    async def control(self, path: str, method: str = "POST", **body: object) -> Any:
        """Ask the sandbox's control API for something."""
        assert self._http is not None
        url = f"http://{LOOPBACK}:{self.sandbox_port}/_sandbox/{path}"
        timeout = aiohttp.ClientTimeout(total=180)
        async with self._http.request(method, url, json=body if method == "POST" else None, timeout=timeout) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"the sandbox answers {answer.status} to {path}: {(await answer.text())[:300]}")
            return await answer.json()

    def look(self, sql: Any, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask our database something, past every link; raises psycopg.OperationalError while it is down."""
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=3) as connection:
            return connection.execute(sql, parameters).fetchall()

    async def until(self, condition: Callable[[], bool], *, seconds: float) -> float | None:
        """Seconds until something came true, asked in a thread every tenth of one; None when it did not in time."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            with suppress(psycopg.OperationalError, OSError):
                if await asyncio.to_thread(condition):
                    return time.monotonic() - started
            await asyncio.sleep(0.1)
        return None


def _quiet(_line: str) -> None:
    """Keep the terminal for the campaign's own words."""
