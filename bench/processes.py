"""The project's own processes, started by its own commands and environment variables alone, and always stopped."""

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psutil

from bench.services import Stage
from ops.embedded.ports import LOOPBACK, answers
from ops.embedded.supervisor import Child, Supervisor

CARD = "4084084084084081"


class Fleet:
    """The running processes of one campaign, by name; leaving the context stops what still runs, newest first."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._supervisors: dict[str, Supervisor] = {}

    def start_web(self, name: str = "web") -> int:
        """Serve the HTTP API; returns its port."""
        port = self.stage.web_port
        self._start(name, "ops", ["web", "--host", LOOPBACK], ready=lambda: _is_ready(port, "/ready"))
        return port

    def start_floor(self, port: int) -> int:
        """Serve the floors' application on the same server settings as the web process."""
        self._start("floor", "bench.floor", [str(port)], ready=lambda: _is_ready(port, "/floor/bare"))
        return port

    def start_sandbox(self) -> None:
        """Stand in for Paystack."""
        port = self.stage.sandbox_port
        options = ["--port", str(port), "--secret-key", self.stage.secret_key]
        options += ["--webhook-url", self.stage.webhook_url]
        self._start("sandbox", "ops", ["sandbox", *options], ready=lambda: answers(port))

    def start_workers(self) -> None:
        """Start what stands behind the ledger: relay, worker and scheduler."""
        for name in ("relay", "worker", "scheduler"):
            self._start(name, "ops", [name])

    def stop(self, name: str) -> None:
        """Stop one process and wait for its end."""
        self._supervisors.pop(name).stop()

    def stop_all(self) -> None:
        """Stop everything, last started first."""
        for name in reversed(list(self._supervisors)):
            self.stop(name)

    @contextmanager
    def held(self, name: str) -> Generator[None]:
        """Hold a process where it stands, warm but idle, and let it go on afterwards."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The id of a process; its children are reached from it."""
        return self._supervisors[name].pid(name)

    @property
    def pids(self) -> dict[str, int]:
        """Every running process by name."""
        return {name: self.pid(name) for name in self._supervisors}

    def check(self) -> None:
        """Fail when a process has died: what was measured is then worth nothing."""
        for name, supervisor in self._supervisors.items():
            if not psutil.pid_exists(self.pid(name)) or psutil.Process(self.pid(name)).status() == psutil.STATUS_ZOMBIE:
                tail = supervisor.log(name).read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{name} died under load:\n{tail}")

    def control(self, path: str, method: str = "POST", **body: object) -> Any:
        """Ask the sandbox's control API for something."""
        connection = http.client.HTTPConnection(LOOPBACK, self.stage.sandbox_port, timeout=60)
        try:
            payload = json.dumps(body) if method == "POST" else None
            connection.request(method, f"/_sandbox/{path}", payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise RuntimeError(f"the sandbox answers {response.status} to {path}: {text[:300]!r}")
        return json.loads(text) if text else None

    def _start(self, name: str, module: str, arguments: list[str], ready: Callable[[], bool] = lambda: True) -> None:
        argv = [sys.executable, "-m", module, *arguments]
        child = Child(name=name, argv=argv, env=self.stage.environment, ready=ready)
        supervisor = Supervisor([child], state=self.stage.state / name)
        supervisor.start()
        self._supervisors[name] = supervisor


@contextmanager
def fleet_on(stage: Stage) -> Generator[Fleet]:
    """A fleet that is stopped whatever happens."""
    fleet = Fleet(stage)
    try:
        yield fleet
    finally:
        fleet.stop_all()


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
