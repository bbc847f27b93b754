"""Starts a list of programs in order, keeps them running, and stops them in reverse order.

Each child is a session of its own, so that Ctrl-C reaches the supervisor alone, which keeps the order of
stopping in its hands. Output goes straight to a file per child: it outlives the supervisor, and a child never
waits for its reader. What a killed supervisor left running is found at the next start and stopped.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
# A child that stayed up this long starts from the first back-off again when it dies.
BACKOFF_FORGIVEN_SECONDS = 60.0
# While a child starts, somebody waits; while all run, nobody does.
POLL_SECONDS = 0.05
WATCH_SECONDS = 0.25
# A log larger than this at the start of its child is set aside (one older file is kept).
LOG_KEPT_BYTES = 16 * 1024 * 1024


class SupervisorError(Exception):
    """What keeps the children from running, with the end of the guilty one's log where there is one."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The user and group a child runs as, when it must not run as ours."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Child:
    """One program to run."""

    name: str
    argv: Sequence[str]
    #: Added to the supervisor's own environment.
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Asked every few hundredths of a second after the start; the next child starts when it says yes.
    ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 60.0
    #: A task, such as a migration: the next child starts when it has exited with 0.
    once: bool = False
    cwd: Path | None = None
    owner: Owner | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30.0


@dataclass(kw_only=True)
class _Running:
    child: Child
    log: Path
    process: subprocess.Popen[bytes]
    started: float
    backoff: float = BACKOFF_FIRST_SECONDS
    #: When to start it again; set while it is down.
    due: float | None = None
    restarts: int = 0
    echoed_bytes: int = 0


class Supervisor:
    """Runs children; use as a context manager, or call start, run (or run_once) and stop."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        state: Path,
        report: Callable[[str], None] = print,
        echo: Callable[[str, str], None] | None = None,
        backoff_max_seconds: float = BACKOFF_MAX_SECONDS,
    ) -> None:
        """Keep logs in `state`/logs; `echo` receives each new log line with its child's name."""
        self._backoff_max_seconds = backoff_max_seconds
        self._children = list(children)
        self._state = state
        self._report = report
        self._echo = echo
        self._running: dict[str, _Running] = {}
        self._lock_file: IO[str] | None = None
        self._stopping = threading.Event()
        self._changing = threading.RLock()
        names = [child.name for child in self._children]
        if len(set(names)) != len(names):
            message = f"two children share a name: {names}"
            raise ValueError(message)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every child, each when the one before is ready; if one fails, stop all and say why."""
        self._lock_file = _claimed(self._state)
        try:
            _stop_remembered(self._state, self._report)
            for child in self._children:
                self._start_child(child)
        except BaseException:
            self.stop()
            raise

    @contextmanager
    def stopped_by_signals(self) -> Generator[None]:
        """Turn SIGINT and SIGTERM into `request_stop` within the block; main thread only."""

        def on_signal(_number: int, _frame: object) -> None:
            self._stopping.set()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self) -> None:
        """Keep the children running until `request_stop`, then stop them."""
        try:
            while not self._stopping.wait(WATCH_SECONDS):
                self.run_once()
        finally:
            self.stop()

    def run_once(self) -> int:
        """Note the children that died, start those whose back-off is over; the number of starts."""
        starts = 0
        with self._changing:
            for running in self._running.values():
                self._pass_on_log(running)
                if running.child.once or self._stopping.is_set():
                    continue
                if running.due is None and running.process.poll() is not None:
                    self._note_death(running)
                if running.due is not None and time.monotonic() >= running.due:
                    self._restart(running)
                    starts += 1
        return starts

    def request_stop(self) -> None:
        """Make `start` give up, and `run` stop the children and return; from any thread or signal handler."""
        self._stopping.set()

    @property
    def stop_requested(self) -> bool:
        """Whether somebody wants an end of it."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Stop the children, last started first, waiting for each; those that will not stop are killed."""
        self._stopping.set()
        with self._changing:
            for running in reversed(list(self._running.values())):
                self._stop_child(running)
                self._pass_on_log(running)
                del self._running[running.child.name]
                self._remember()
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    def pid(self, name: str) -> int:
        """The process id of a running child."""
        return self._running[name].process.pid

    def restarts(self, name: str) -> int:
        """How often a child has been started again."""
        return self._running[name].restarts

    def log(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._state / "logs" / f"{name}.log"

    def _start_child(self, child: Child) -> None:
        log = self.log(child.name)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if log.stat().st_size > LOG_KEPT_BYTES:
                log.replace(log.with_suffix(".log.1"))
        running = _Running(
            child=child,
            log=log,
            process=self._spawn(child, log),
            started=time.monotonic(),
            echoed_bytes=log.stat().st_size,
        )
        self._running[child.name] = running
        self._remember()
        self._await_ready(running)

    def _spawn(self, child: Child, log: Path) -> "subprocess.Popen[bytes]":
        owner = child.owner
        with log.open("ab") as output:
            try:
                return subprocess.Popen(
                    list(child.argv),
                    env={**os.environ, **child.env},
                    cwd=child.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=owner.uid if owner else None,
                    group=owner.gid if owner else None,
                    extra_groups=[] if owner else None,
                )
            except OSError as error:
                message = f"{child.name} could not be started ({child.argv[0]}): {error}"
                raise SupervisorError(message) from error

    def _await_ready(self, running: _Running) -> None:
        child, process = running.child, running.process
        deadline = time.monotonic() + child.ready_seconds
        while not self._stopping.is_set():
            code = process.poll()
            self._pass_on_log(running)
            if child.once and code == 0:
                del self._running[child.name]
                return
            if code is not None:
                message = f"{child.name} {_ending(code)} before it was ready.{self._tail(child.name)}"
                raise SupervisorError(message)
            if not child.once and child.ready():
                return
            if time.monotonic() > deadline:
                message = f"{child.name} was not ready after {child.ready_seconds:g} s.{self._tail(child.name)}"
                raise SupervisorError(message)
            time.sleep(POLL_SECONDS)
        message = f"stopped while {child.name} was starting"
        raise SupervisorError(message)

    def _note_death(self, running: _Running) -> None:
        now = time.monotonic()
        if now - running.started >= BACKOFF_FORGIVEN_SECONDS:
            running.backoff = BACKOFF_FIRST_SECONDS
        # Its own children may hold its port still.
        _kill_group(running.process.pid)
        running.due = now + running.backoff
        name, ending = running.child.name, _ending(running.process.returncode)
        self._report(f"{name} {ending}; starting it again in {running.backoff:g} s (log: {running.log})")
        running.backoff = min(running.backoff * 2, self._backoff_max_seconds)

    def _restart(self, running: _Running) -> None:
        running.due = None
        running.started = time.monotonic()
        try:
            running.process = self._spawn(running.child, running.log)
            running.restarts += 1  # after the process is there: who waits for the count asks for its number next
        except SupervisorError as error:
            self._report(f"{error}; trying again in {running.backoff:g} s")
            running.due = time.monotonic() + running.backoff
            running.backoff = min(running.backoff * 2, self._backoff_max_seconds)
        self._remember()

    def _stop_child(self, running: _Running) -> None:
        process, child = running.process, running.child
        if process.returncode is not None:
            # Reaped earlier: the number may be a stranger's by now.
            return
        process.send_signal(child.stop_signal)
        try:
            process.wait(child.stop_seconds)
        except subprocess.TimeoutExpired:
            self._report(f"{child.name} did not stop within {child.stop_seconds:g} s; killing it")
        _kill_group(process.pid)
        process.wait()

    def _pass_on_log(self, running: _Running) -> None:
        if self._echo is None:
            return
        with running.log.open("rb") as log:
            log.seek(running.echoed_bytes)
            # What has no line end yet is passed on when it has.
            complete, _, _ = log.read().rpartition(b"\n")
        if complete:
            running.echoed_bytes += len(complete) + 1
            for line in complete.decode(errors="replace").split("\n"):
                self._echo(running.child.name, line)

    def _tail(self, name: str, *, lines: int = 15) -> str:
        text = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "\n" + "\n".join(f"  {name} | {line}" for line in text) if text else ""

    # What is running, written down for the next supervisor should this one be killed.

    def _remember(self) -> None:
        entries = [
            {
                "name": running.child.name,
                "pid": running.process.pid,
                "born": _birth(running.process.pid),
                "signal": int(running.child.stop_signal),
                "seconds": running.child.stop_seconds,
            }
            for running in self._running.values()
            if running.process.poll() is None
        ]
        path = self._state / "supervisor.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(entries), encoding="utf-8")
        draft.replace(path)


def stop_leftovers(state: Path, report: Callable[[str], None]) -> None:
    """Stop what a killed supervisor left running, before anything looks for free ports.

    Raises:
        SupervisorError: another supervisor runs from that directory now.

    """
    with _claimed(state):
        _stop_remembered(state, report)


def _claimed(state: Path) -> IO[str]:
    """Lock the state directory for one supervisor at a time, for as long as the file stays open."""
    state.mkdir(parents=True, exist_ok=True)
    lock_file = (state / "supervisor.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.seek(0)
        holder = lock_file.read().strip()
        lock_file.close()
        message = f"Payfleet is already running from {state} (process {holder})"
        raise SupervisorError(message) from error
    lock_file.truncate(0)
    lock_file.write(str(os.getpid()))
    lock_file.flush()
    return lock_file


def _stop_remembered(state: Path, report: Callable[[str], None]) -> None:
    try:
        entries = json.loads((state / "supervisor.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for entry in reversed(entries):
        pid, born = entry["pid"], entry["born"]
        # Without a birth mark it cannot be told from a stranger with the same number.
        if born is None or _birth(pid) != born:
            continue
        report(f"{entry['name']} (process {pid}) was left over from a killed run; stopping it")
        with suppress(ProcessLookupError):
            os.kill(pid, entry["signal"])
        deadline = time.monotonic() + entry["seconds"]
        while _birth(pid) == born and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        _kill_group(pid)


def _kill_group(pid: int) -> None:
    """Kill what is left of a child's session: a session leader's group carries its number."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _birth(pid: int) -> str | None:
    """When a process was started, in whatever form the system tells it; None when it is gone."""
    if sys.platform == "linux":
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        state, start_ticks = after_name[0], after_name[19]
        return None if state == "Z" else start_ticks
    answer = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, check=False)
    return answer.stdout.decode(errors="replace").strip() or None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
