"""`payfleet up`: everything on this machine, a stand-in for each service that the environment does not name."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SettingsError
from domain.settings import Settings
from ops.embedded import redis
from ops.embedded.demo import Demo, DemoError
from ops.embedded.ports import LOOPBACK, answers, free_port
from ops.embedded.postgres import EmbeddedPostgres, PostgresUnavailableError
from ops.embedded.secret_file import keep_secrets, write_environment
from ops.embedded.supervisor import Child, Supervisor, SupervisorError, stop_leftovers

STATE = Path(".payfleet")
WEB_PORT = 3000
SANDBOX_PORT = 4010
REDIS_PORT = 6390  # beside the real one's port: a Redis that somebody else runs is not ours to use


@dataclass(frozen=True, kw_only=True)
class Part:
    """One line of the banner: a service, what stands for it, and how to bring one's own."""

    name: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What will run, and the environment it runs in."""

    children: list[Child]
    parts: list[Part]
    env: dict[str, str]
    sandbox_url: str | None

    @property
    def web_url(self) -> str:
        """Where the API is served."""
        return f"http://{LOOPBACK}:{self.env['PORT']}"


def run_stack(*, demo: bool) -> int:
    """Start everything, drive one payment through it, and stay up until Ctrl-C (or stop at once, for a demo).

    Returns:
        0, or 1 when something did not start or the payment did not succeed.

    """
    say = _Narrator()
    try:
        STATE.mkdir(mode=0o700, exist_ok=True)
        stop_leftovers(STATE.absolute(), say)
        stack = plan(STATE.absolute(), os.environ, say)
        write_environment(STATE, _environment_of(stack, os.environ))
        supervisor = Supervisor(_announced(stack.children, say), state=STATE.absolute(), report=say)
        with supervisor.stopped_by_signals(), supervisor:
            say("everything runs:")
            for part in stack.parts:
                say(f"  {part.name:<10} {part.what}")
            succeeded = _drive(stack, say)
            if demo or not succeeded:
                return 0 if succeeded else 1
            _show_what_to_try(stack, say)
            supervisor.run()
            return 0
    except (SupervisorError, PostgresUnavailableError, SettingsError) as error:
        print(f"payfleet: {error}", file=sys.stderr)
        return 1


def plan(state: Path, given: Mapping[str, str], say: Callable[[str], None]) -> Stack:
    """Decide what to start: what the environment names is used, the rest has a stand-in."""
    children: list[Child] = []
    parts: list[Part] = []
    own_paystack = "PAYSTACK_SECRET_KEY" in given
    kept = {name: value for name, value in keep_secrets(state).items() if name not in given}
    if "JWT_PUBLIC_KEY" in given:
        kept.pop("JWT_SECRET", None)
    env = {**kept, "PORT": given.get("PORT") or str(free_port(WEB_PORT)), "LOG_LEVEL": given.get("LOG_LEVEL", "info")}

    if "DATABASE_URL" in given:
        parts.append(Part(name="Postgres", what="yours, at DATABASE_URL"))
    else:
        postgres = EmbeddedPostgres(state, report=say)
        postgres.prepare()
        children.append(postgres.child())
        env["DATABASE_URL"] = postgres.url
        parts.append(Part(name="Postgres", what=f"embedded, port {postgres.port} (DATABASE_URL for your own)"))
    if "REDIS_URL" in given:
        parts.append(Part(name="Redis", what="yours, at REDIS_URL"))
    else:
        port = free_port(REDIS_PORT)
        children.append(redis.child(port))
        env["REDIS_URL"] = redis.url(port)
        parts.append(Part(name="Redis", what=f"embedded stand-in, port {port} (REDIS_URL for your own)"))
    sandbox_url = None
    if own_paystack:
        parts.append(Part(name="Paystack", what="yours, by PAYSTACK_SECRET_KEY"))
    else:
        port = free_port(SANDBOX_PORT)
        sandbox_url = env["PAYSTACK_BASE_URL"] = f"http://{LOOPBACK}:{port}"
        if "PAYSTACK_CALLBACK_URL" not in given:
            env["PAYSTACK_CALLBACK_URL"] = f"http://{LOOPBACK}:{env['PORT']}/payments/callback"
        if "PAYSTACK_RATE_LIMITS" not in given:
            env["PAYSTACK_RATE_LIMITS"] = "all=1000000"  # the sandbox counts no calls unless it is told to
        children.append(_sandbox(state, port, env))
        parts.append(Part(name="Paystack", what=f"offline sandbox at {sandbox_url} (PAYSTACK_SECRET_KEY for the real)"))
    children.append(Child(name="migrate", argv=_payfleet("migrate"), env=env, once=True))
    children.append(_web(env))
    if "RABBITMQ_URL" in given:
        parts.append(Part(name="RabbitMQ", what="yours, at RABBITMQ_URL"))
        children += [Child(name=name, argv=_payfleet(name), env=env) for name in ("relay", "worker", "scheduler")]
    else:
        parts.append(Part(name="RabbitMQ", what="in-process stand-in, events are logged (RABBITMQ_URL for your own)"))
        children.append(Child(name="fleet", argv=[sys.executable, "-m", "ops.embedded.fleet"], env=env))
    return Stack(children=children, parts=parts, env=env, sandbox_url=sandbox_url)


def _announced(children: list[Child], say: Callable[[str], None]) -> list[Child]:
    say(f"starting {', '.join(child.name for child in children)}; logs are in {STATE / 'logs'}")
    return children


def _payfleet(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ops", *arguments]


def _web(env: dict[str, str]) -> Child:
    port = int(env["PORT"])
    return Child(
        name="web",
        argv=_payfleet("web", "--host", LOOPBACK),
        env=env,
        ready=lambda: answers(port),
    )


def _sandbox(state: Path, port: int, env: dict[str, str]) -> Child:
    return Child(
        name="sandbox",
        argv=[
            *(sys.executable, "-m", "sandbox"),
            *("--port", str(port)),
            *("--secret-key", env["PAYSTACK_SECRET_KEY"]),
            *("--webhook-url", f"http://{LOOPBACK}:{env['PORT']}/webhooks/paystack"),
            *("--data", str(state / "sandbox.json")),
        ],
        ready=lambda: answers(port),
    )


def _environment_of(stack: Stack, given: Mapping[str, str]) -> dict[str, str]:
    """Tell a shell where everything is: the settings of the processes, and the addresses the guide speaks of."""
    settings = {name.upper() for name in Settings.model_fields}
    addresses = {"PAYFLEET": stack.web_url} | ({"SANDBOX": stack.sandbox_url} if stack.sandbox_url else {})
    return {name: value for name, value in given.items() if name in settings} | stack.env | addresses


def _drive(stack: Stack, say: Callable[[str], None]) -> bool:
    if stack.sandbox_url is None:
        say("no payment is driven: with your own Paystack key, a person must pay")
        return True
    try:
        Demo(stack.web_url, stack.sandbox_url, stack.env, say).run()
    except DemoError as error:
        print(f"payfleet: {error}", file=sys.stderr)
        return False
    return True


def _show_what_to_try(stack: Stack, say: Callable[[str], None]) -> None:
    say("")
    say(f"API       {stack.web_url}, described at {stack.web_url}/docs")
    if stack.sandbox_url is not None:
        say(f"sandbox   {stack.sandbox_url}/_sandbox/ lists what the offline Paystack knows")
    if "JWT_SECRET" in stack.env:
        say("try it:")
        say(Demo.curl_line(stack.web_url, stack.env))
        say("or follow docs/guide/, in another shell, after")
        say("  set -a; . .payfleet/env; set +a; PATH=$PWD/.venv/bin:$PATH")
    say("")
    say("Ctrl-C stops everything; the data stay in .payfleet/")


class _Narrator:
    """Says what happens on standard output, at once even into a pipe."""

    def __call__(self, line: str) -> None:
        print(line, flush=True)
