"""The command line: ``python -m sandbox --port 4010``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from sandbox.app import make_app
from sandbox.snapshot import UnusableSnapshotError
from sandbox.world import Options

# After SIGTERM, requests under way get this long.
_SHUTDOWN_SECONDS = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGTERM or Ctrl-C.

    Returns 0 after a clean stop, 1 when it cannot start (port taken, unusable data file); argparse ends the
    process with 2 on a wrong option.
    """
    arguments = _parser().parse_args(argv)
    host, port = str(arguments.host), int(arguments.port)
    options = Options(
        secret_key=str(arguments.secret_key),
        public_url=str(arguments.public_url or f"http://{_reachable(host)}:{port}").rstrip("/"),
        webhook_url=arguments.webhook_url,
        webhook_schedule=arguments.webhook_schedule,
        currencies=arguments.currencies,
        seed=arguments.seed,
        data=arguments.data,
    )
    # The book's many long-lived objects make Python's usual full collections stop the server for 100 ms and
    # more; what a request leaves behind is freed without them.
    gc.set_threshold(50_000, 20, 50)
    try:
        asyncio.run(_serve(options, host, port))
    except (OSError, UnusableSnapshotError) as error:
        print(f"sandbox cannot start: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: Options, host: str, port: int) -> None:
    runner = web.AppRunner(make_app(options), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        print(f"sandbox listening on http://{host}:{port}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def _reachable(host: str) -> str:
    """Name an address a browser on this machine can open; "all interfaces" is none."""
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description="An offline Paystack.")
    parser.add_argument("--port", type=_port, default=4010)
    parser.add_argument("--host", default="127.0.0.1", help="the control API has no password: keep it private")
    parser.add_argument("--secret-key", type=_test_key, default="sk_test_sandbox")
    parser.add_argument("--webhook-url", help="where events are sent; none are without it")
    parser.add_argument("--public-url", help="start of authorization_url (default: http://HOST:PORT)")
    parser.add_argument("--seed", type=int, help="makes ids and codes come out the same every time")
    parser.add_argument("--data", type=Path, help="file that keeps the book between runs")
    parser.add_argument("--webhook-schedule", choices=("live", "test"), default="live")
    parser.add_argument("--currencies", type=_currencies, default=("NGN", "GHS", "ZAR", "KES", "USD"))
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:  # noqa: PLR2004 - the range of TCP ports
        message = "a port is a number from 1 to 65535"
        raise argparse.ArgumentTypeError(message)
    return port


def _test_key(text: str) -> str:
    if not text.startswith("sk_test_"):
        message = "only keys that begin with sk_test_ are taken, never a live one"
        raise argparse.ArgumentTypeError(message)
    return text


def _currencies(text: str) -> tuple[str, ...]:
    currencies = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not currencies or not all(len(part) == 3 and part.isalpha() for part in currencies):  # noqa: PLR2004
        message = "currencies are three-letter codes, separated by commas"
        raise argparse.ArgumentTypeError(message)
    return currencies


if __name__ == "__main__":
    sys.exit(main())
