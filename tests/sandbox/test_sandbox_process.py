"""The sandbox as a process: its options, a clean stop, and a data file that survives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox.__main__ import main
from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox, wait_until
from sandbox.snapshot import UnusableSnapshotError
from sandbox.world import Options

HEADERS = {"Authorization": "Bearer sk_test_sandbox"}


def initialize(url: str, reference: str) -> requests.Response:
    body = {"email": "a@example.com", "amount": 100, "reference": reference}
    return requests.post(f"{url}/transaction/initialize", json=body, headers=HEADERS, timeout=10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def process(*options: str) -> Generator[tuple[str, subprocess.Popen[str]], None, None]:
    port = free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert running.stdout
        assert running.stdout.readline() == f"sandbox listening on http://127.0.0.1:{port}\n"
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.kill()
        running.wait()
        if running.stdout:
            running.stdout.close()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_with_everything_written(tmp_path: Path, name: signal.Signals) -> None:
    data = tmp_path / "book.json"
    with process("--data", str(data)) as (url, running):
        assert initialize(url, "kept").json()["data"]["authorization_url"].startswith(f"{url}/checkout/")
        running.send_signal(name)
        assert running.wait(10) == 0
    with process("--data", str(data)) as (url, _):
        assert requests.get(f"{url}/transaction/verify/kept", headers=HEADERS, timeout=10).status_code == 200
        assert initialize(url, "kept").json()["code"] == "duplicate_reference"


def test_a_change_is_on_disk_within_seconds_without_a_stop(tmp_path: Path) -> None:
    data = tmp_path / "book.json"
    with process("--data", str(data)) as (url, running):
        initialize(url, "kept")
        wait_until(lambda: data.exists() and "kept" in data.read_text())
        running.kill()
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("key", ["sk_live_abc", "pk_test_abc", ""])
def test_only_test_keys_are_taken_at_the_start(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--secret-key", key])
    assert "sk_test_" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--port", "0"], ["--port", "x"], ["--currencies", "NAIRA"], ["--webhook-schedule", "fast"]]
)
def test_wrong_options_end_it_with_2(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(options)


def test_a_port_that_is_taken_ends_it_with_1_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "sandbox cannot start" in capsys.readouterr().err


def test_a_data_file_that_cannot_be_written_is_known_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", str(free_port()), "--data", str(tmp_path / "absent" / "book.json")]) == 1
    assert "absent" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 2}', "\udcff"])
def test_a_data_file_that_is_none_of_ours_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    data = tmp_path / "book.json"
    data.write_text(content, errors="surrogateescape")
    before = data.read_bytes()
    with pytest.raises(UnusableSnapshotError), running_sandbox(Options(data=data)):
        pass
    assert data.read_bytes() == before


def test_pending_webhooks_and_plans_survive_a_restart_with_their_times(tmp_path: Path, catcher: WebhookCatcher) -> None:
    options = Options(data=tmp_path / "book.json", webhook_url=catcher.url, seed=3)
    catcher.answers = [500]
    with running_sandbox(options) as sandbox:
        sandbox.control("clock", {"freeze": True})
        initialize(sandbox.url, "paid")
        sandbox.control("transactions/paid/pay", {})
        sandbox.control("clock", {"advance_seconds": 1})
        sandbox.control("settings", {"autopay": {"delay_ms": 60_000}})
        initialize(sandbox.url, "planned")
        before = sandbox.control("book")
        now = sandbox.control("clock")["now"]
    with running_sandbox(options) as sandbox:
        assert sandbox.control("clock")["now"] == now
        assert without_urls(sandbox) == [
            {name: value for name, value in row.items() if name != "authorization_url"}
            for row in before["transactions"]
        ]
        assert sandbox.control("book")["deliveries"] == before["deliveries"]
        sandbox.control("clock", {"advance_seconds": 179})
        arrived = [caught.event["data"]["reference"] for caught in catcher.caught]
        assert arrived == ["paid", "planned", "paid"]


def without_urls(sandbox: RunningSandbox) -> list[dict[str, object]]:
    # The harness takes another free port each time, and the URL follows it.
    return [
        {name: value for name, value in row.items() if name != "authorization_url"}
        for row in sandbox.control("book")["transactions"]
    ]


def test_ids_and_codes_given_after_a_restart_are_new(tmp_path: Path) -> None:
    options = Options(data=tmp_path / "book.json", seed=3)
    codes: list[str] = []
    ids: list[int] = []
    for number in range(6):
        with running_sandbox(options) as sandbox:
            codes.append(initialize(sandbox.url, f"r{number}").json()["data"]["access_code"])
            ids = [row["id"] for row in sandbox.control("book")["transactions"]]
    assert len(set(codes)) == 6
    assert ids == sorted(set(ids))


def test_the_books_page_lists_what_happened_and_escapes_it(catcher: WebhookCatcher) -> None:
    with running_sandbox(Options(webhook_url=catcher.url)) as sandbox:
        initialize(sandbox.url, "order-7")
        sandbox.control("transactions/order-7/pay", {})
        sandbox.control("transactions/order-7/pay", {})
        sandbox.control("webhooks", {"event": "<script>", "data": {}})
        page = requests.get(f"{sandbox.url}/", timeout=10)
        one = sandbox.control("book?reference=order-7")
        assert requests.get(f"{sandbox.url}/favicon.ico", timeout=10).status_code == 204
        assert sandbox.control("book")["counters"] == {"POST /transaction/initialize": 1}
    assert [row["reference"] for row in one["transactions"]] == ["order-7"]
    assert [row["event"] for row in one["deliveries"]] == ["charge.success"]
    assert page.status_code == 200
    assert "order-7" in page.text
    assert "charge.success" in page.text
    assert "<strong><script>" not in page.text
