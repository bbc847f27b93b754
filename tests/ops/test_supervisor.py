"""The supervisor against real processes: order, readiness, restarts, stopping, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.embedded.supervisor import Child, Supervisor, SupervisorError

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def python_child(name: str, program: str, **options: object) -> Child:
    return Child(name=name, argv=[sys.executable, "-u", "-c", program], **options)  # pyright: ignore[reportArgumentType]


def wait_until(holds: Callable[[], bool], *, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_children_start_in_order_each_after_the_one_before_is_ready(tmp_path: Path) -> None:
    first_is_ready = tmp_path / "first-is-ready"
    first = python_child(
        "first",
        f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(first_is_ready)!r}).touch(); time.sleep(600)",
        ready=first_is_ready.exists,
    )
    second = python_child(
        "second",
        f"import pathlib, time; print(pathlib.Path({str(first_is_ready)!r}).exists()); time.sleep(600)",
    )
    with Supervisor([first, second], state=tmp_path) as supervisor:
        wait_until(lambda: supervisor.log("second").read_text() != "")
        assert supervisor.log("second").read_text() == "True\n"


def test_a_task_is_waited_for_and_not_restarted(tmp_path: Path) -> None:
    task = python_child("migrate", "import time; time.sleep(0.3); print('done')", once=True)
    with Supervisor([task, python_child("web", SLEEPER)], state=tmp_path) as supervisor:
        assert supervisor.log("migrate").read_text() == "done\n"
        assert supervisor.run_once() == 0


def test_a_failing_task_stops_everything_and_shows_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [
            python_child("web", SLEEPER),
            python_child("migrate", "import sys; print('no such table'); sys.exit(3)", once=True),
        ],
        state=tmp_path,
    )
    pids: list[int] = []
    original = supervisor._start_child

    def noting(child: Child) -> None:
        original(child)
        pids.append(supervisor.pid("web"))

    supervisor._start_child = noting
    with pytest.raises(
        SupervisorError, match=r"migrate exited with 3 before it was ready\.\n  migrate \| no such table"
    ):
        supervisor.start()
    assert not is_alive(pids[0])


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="ghost could not be started"):
        Supervisor([Child(name="ghost", argv=["/nonexistent/ghost"])], state=tmp_path).start()


def test_one_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    child = python_child("slow", SLEEPER, ready=lambda: False, ready_seconds=0.5)
    with pytest.raises(SupervisorError, match=r"slow was not ready after 0\.5 s\.\n  slow \| up"):
        Supervisor([child], state=tmp_path).start()


def test_a_killed_child_is_started_again_later_each_time(tmp_path: Path) -> None:
    told: list[str] = []
    with Supervisor([python_child("web", SLEEPER)], state=tmp_path, report=told.append) as supervisor:
        for times in (1, 2):
            before = supervisor.pid("web")
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: supervisor.run_once() == 1)
            assert supervisor.pid("web") != before
            assert supervisor.restarts("web") == times
    assert ["in 0.5 s" in told[0], "in 1 s" in told[1]] == [True, True]
    assert "web was ended by SIGKILL" in told[0]


def test_children_stop_in_reverse_order_and_leave_no_zombie(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"

    def noting(name: str) -> Child:
        program = (
            "import signal, sys, time\n"
            f"def leave(*_):\n    open({str(stopped)!r}, 'a').write('{name} ')\n    sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, leave)\nprint('up', flush=True)\ntime.sleep(600)\n"
        )
        log = tmp_path / "logs" / f"{name}.log"
        return python_child(name, program, ready=lambda: log.read_text() == "up\n")

    supervisor = Supervisor([noting("one"), noting("two"), noting("three")], state=tmp_path)
    supervisor.start()
    pids = [supervisor.pid(name) for name in ("one", "two", "three")]
    supervisor.stop()
    assert stopped.read_text() == "three two one "
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_one_that_ignores_the_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"grandchild = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n"
        "print(grandchild.pid, flush=True)\ntime.sleep(600)\n"
    )
    log = tmp_path / "logs" / "stubborn.log"
    told: list[str] = []
    child = python_child("stubborn", program, stop_seconds=0.3, ready=lambda: log.read_text() != "")
    with Supervisor([child], state=tmp_path, report=told.append) as supervisor:
        grandchild = int(log.read_text().split()[0])
        parent = supervisor.pid("stubborn")
        assert is_alive(grandchild)
    assert not is_alive(parent)
    wait_until(lambda: not is_alive(grandchild))
    assert told == ["stubborn did not stop within 0.3 s; killing it"]


def test_log_lines_are_passed_on_with_their_name(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    child = python_child("talker", "import time; print('a'); print('b'); print('half', end=''); time.sleep(600)")
    with Supervisor([child], state=tmp_path, echo=lambda name, line: heard.append((name, line))) as supervisor:
        wait_until(lambda: bool(supervisor.run_once()) or len(heard) == 2)
    assert heard == [("talker", "a"), ("talker", "b")]


def test_two_supervisors_do_not_share_a_state_directory(tmp_path: Path) -> None:
    with (
        Supervisor([python_child("web", SLEEPER)], state=tmp_path),
        pytest.raises(SupervisorError, match=f"already running from .* \\(process {os.getpid()}\\)"),
    ):
        Supervisor([python_child("web", SLEEPER)], state=tmp_path).start()
    with Supervisor([python_child("web", SLEEPER)], state=tmp_path):
        pass


def run_elsewhere(state: Path) -> "subprocess.Popen[str]":
    """A supervisor in a process of its own, which says its child's number once all is up."""
    program = (
        "import sys, pathlib\n"
        "from ops.embedded.supervisor import Child, Supervisor\n"
        f"child = Child(name='web', argv=[sys.executable, '-c', {SLEEPER!r}])\n"
        f"supervisor = Supervisor([child], state=pathlib.Path({str(state)!r}))\n"
        "with supervisor.stopped_by_signals(), supervisor:\n"
        "    print(supervisor.pid('web'), flush=True)\n"
        "    supervisor.run()\n"
        "print('stopped', flush=True)\n"
    )
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root)


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_children_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with run_elsewhere(tmp_path) as process:
        child = int(first_line(process))
        assert is_alive(child)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)
    assert (rest, process.returncode) == ("stopped\n", 0)
    assert not is_alive(child)


def test_what_a_killed_supervisor_left_is_stopped_at_the_next_start(tmp_path: Path) -> None:
    with run_elsewhere(tmp_path) as process:
        orphan = int(first_line(process))
        process.kill()
    assert is_alive(orphan)
    told: list[str] = []
    with Supervisor([python_child("web", SLEEPER)], state=tmp_path, report=told.append):
        assert not is_alive(orphan)
    assert told == [f"web (process {orphan}) was left over from a killed run; stopping it"]


def test_a_request_to_stop_ends_run_from_another_thread(tmp_path: Path) -> None:
    with Supervisor([python_child("web", SLEEPER)], state=tmp_path) as supervisor:
        pid = supervisor.pid("web")
        threading.Timer(0.2, supervisor.request_stop).start()
        supervisor.run()
        assert supervisor.stop_requested
    assert not is_alive(pid)
