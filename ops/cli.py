"""The `payfleet` command: one subcommand for each process, and the few tools around them."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from domain.errors import PayfleetError, SettingsError
from domain.jobs import Queue
from domain.settings import Settings
from ops import dead_letters
from ops.books import check_books
from ops.environment import read_settings
from ops.http_server import REQUEST_THREADS
from ops.signals import until_signal

app = typer.Typer(
    name="payfleet",
    help="Take payments through Paystack: a queue-driven fleet behind a small HTTP edge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(check_books)

app.add_typer(dead_letters.app, name="dead")

# The modules of a process are imported inside its command: `payfleet --help` and `payfleet migrate` stay quick, and the
# sandbox runs without a database driver.


def main() -> None:
    """Run the command line; a mistake of the caller's ends in one line, not in a traceback."""
    try:
        app()
    except PayfleetError as error:
        print(f"payfleet: {error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def migrate() -> None:
    """Bring the database at DATABASE_URL up to this release."""
    from db.migrate import migrate as run

    ran = run(read_settings().database_url.get_secret_value())
    for migration in ran:
        print(f"applied {migration.number:04d} {migration.name}")
    if not ran:
        print("nothing to do")


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - a container's edge
    workers: Annotated[int, typer.Option(help="Server processes.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Request threads of each process.", min=4)] = REQUEST_THREADS,
) -> None:
    """Serve the HTTP API on PORT."""
    from ops.http_server import serve

    serve("ops.wsgi:application", host=host, port=read_settings().port, workers=workers, threads=threads)


@app.command()
def relay() -> None:
    """Move due jobs and events from Postgres to RabbitMQ."""
    from workers.publishing import ConfirmingPublisher
    from workers.relay import Relay
    from workers.roots import make_database

    settings = read_settings()
    exchange = settings.rabbitmq_exchange
    with make_database(settings, "relay") as database, until_signal() as stop:
        Relay(database, ConfirmingPublisher(_rabbitmq_url(settings), exchange), exchange).run(stop)


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="Comma list of queues to consume; all by default.")] = "",
) -> None:
    """Run jobs from RabbitMQ."""
    from workers.broker import LedgerBroker
    from workers.process import run_worker
    from workers.roots import job_context

    wanted = [_queue(name) for name in queues.split(",") if name.strip()] or list(Queue)
    settings = read_settings()
    broker = LedgerBroker(_rabbitmq_url(settings))
    with until_signal() as stop, job_context(settings) as context:
        run_worker(broker, context, wanted, stop)


@app.command()
def scheduler() -> None:
    """Return lost jobs, have payments looked at, keep dead letters in step, and create partitions ahead of time."""
    from workers.dead_letters import DeadLetterQueues
    from workers.roots import looks_a_minute, make_database
    from workers.scheduler import run_scheduler

    settings = read_settings()
    rabbitmq_url = _rabbitmq_url(settings)
    with make_database(settings, "scheduler") as database, until_signal() as stop:
        letters = DeadLetterQueues(database, rabbitmq_url)
        url = settings.database_url.get_secret_value()
        run_scheduler(database, url, stop, looks_a_minute=looks_a_minute(settings), letters=letters)


@app.command()
def gateway(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what stands between Payfleet and Paystack: circuit breakers, and how much of each quota is used."""
    import orjson

    from ops.gateway import read_gateway, show_gateway

    state = read_gateway(read_settings())
    print(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode() if as_json else show_gateway(state))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def sandbox(context: typer.Context) -> None:
    """Run the offline Paystack; `payfleet sandbox --help` lists its options."""
    from sandbox.__main__ import main as run

    raise typer.Exit(run(context.args))


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the HTTP API."""
    import orjson

    from ingress.openapi.document import document

    print(orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode())


@app.command()
def keygen() -> None:
    """Print a new key for ENCRYPTION_KEY."""
    from db.sealing import new_key

    print(new_key())


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Who the token speaks for: a userId, or a service's name.")],
    role: Annotated[list[str], typer.Option(help="A role; may be given more than once.")],
    minutes: Annotated[int, typer.Option(help="How long it is valid.", min=1)] = 15,
) -> None:
    """Print a bearer token signed with JWT_SECRET."""
    from ops.tokens import sign_token

    print(sign_token(read_settings(), subject, role, timedelta(minutes=minutes)))


@app.command()
def advance_clock(seconds: Annotated[int, typer.Argument(help="How far time jumps ahead.", min=1)]) -> None:
    """Let time pass on a test database; refused with a live key."""
    from db.clock import advance_test_clock
    from workers.roots import make_database

    settings = read_settings()
    with make_database(settings, "cli") as database, database.connection() as connection:
        advance_test_clock(connection, settings=settings, by=timedelta(seconds=seconds))


@app.command()
def up(
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Drive one payment to SUCCESS, then stop.")] = False,
) -> None:
    """Run everything on this machine, with embedded stand-ins for what is not configured."""
    from ops.embedded.stack import run_stack

    raise typer.Exit(run_stack(demo=demo))


def _rabbitmq_url(settings: Settings) -> str:
    if settings.rabbitmq_url is None:
        message = "RABBITMQ_URL must be set for this process"
        raise SettingsError(message)
    return settings.rabbitmq_url.get_secret_value()


def _queue(name: str) -> Queue:
    try:
        return Queue(name.strip())
    except ValueError:
        message = f"--queues: {name.strip()!r} is none of {', '.join(Queue)}"
        raise SettingsError(message) from None
