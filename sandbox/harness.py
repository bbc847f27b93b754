"""For tests, yours and ours: a sandbox in a thread of this process, and a catcher of its webhooks."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from aiohttp import web

from sandbox.app import make_app
from sandbox.world import Options

_DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that answers at ``url``."""

    url: str
    secret_key: str

    def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call ``/_sandbox/<path>``: GET without a body, POST with one.

        Raises:
            urllib.error.HTTPError: if the sandbox refuses.

        """
        data = None if body is None else json.dumps(body).encode()
        # The address is our own, made two functions below.
        with urllib.request.urlopen(f"{self.url}/_sandbox/{path}", data, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def running_sandbox(options: Options | None = None) -> Generator[RunningSandbox, None, None]:
    """Run a sandbox on a free port of 127.0.0.1 until the block ends; its public URL is set to fit."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = replace(options or Options(), public_url=url)
        runner = web.AppRunner(make_app(options), access_log=None, shutdown_timeout=0.5)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(_serve(runner, listener), loop).result(_DEADLINE_SECONDS)
            yield RunningSandbox(url, options.secret_key)
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(_DEADLINE_SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_DEADLINE_SECONDS)
            loop.close()


async def _serve(runner: web.AppRunner, listener: socket.socket) -> None:
    await runner.setup()
    await web.SockSite(runner, listener, backlog=256).start()


@dataclass(frozen=True, slots=True)
class Caught:
    """One webhook as it came in."""

    body: bytes
    signature: str

    @property
    def event(self) -> dict[str, Any]:
        """Return the parsed body."""
        return json.loads(self.body)


@dataclass(slots=True)
class WebhookCatcher:
    """Records webhooks; ``answers`` are the HTTP statuses to give, in order, then 200 for all others."""

    url: str = ""
    caught: list[Caught] = field(default_factory=list[Caught])
    answers: list[int] = field(default_factory=list[int])

    def wait_for(self, count: int, *, seconds: float = _DEADLINE_SECONDS) -> list[Caught]:
        """Return what was caught once there are ``count`` of them.

        Raises:
            TimeoutError: if they do not come in time.

        """
        wait_until(lambda: len(self.caught) >= count, seconds=seconds)
        return list(self.caught)


def wait_until(condition: Callable[[], bool], *, seconds: float = _DEADLINE_SECONDS) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: if it does not come true in time.

    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"not true within {seconds} s"
            raise TimeoutError(message)
        time.sleep(0.01)


@contextmanager
def catching_webhooks() -> Generator[WebhookCatcher, None, None]:
    """Listen for webhooks on a free port of 127.0.0.1 until the block ends."""
    catcher = WebhookCatcher()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            catcher.caught.append(Caught(body, self.headers.get("x-paystack-signature", "")))
            status = catcher.answers.pop(0) if catcher.answers else HTTPStatus.OK
            self.send_response(status)
            if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    catcher.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield catcher
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_DEADLINE_SECONDS)
