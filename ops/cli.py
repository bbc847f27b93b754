"""The `payfleet` command: one subcommand for each process, and the few tools around them."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from domain.errors import PayfleetError, SettingsError
from domain.jobs import Queue
from domain.settings import Settings, load
from ops.books import check_books
from ops.http_server import REQUEST_THREADS
from ops.logs import configure_logs
from ops.signals import until_signal

app = typer.Typer(
    name="payfleet",
    help="Take payments through Paystack: a queue-driven fleet behind a small HTTP edge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(check_books)

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

    ran = run(_settings().database_url.get_secret_value())
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

    serve("ops.wsgi:application", host=host, port=_settings().port, workers=workers, threads=threads)


@app.command()
def relay() -> None:
    """Move due jobs and events from Postgres to RabbitMQ."""
    from workers.publishing import ConfirmingPublisher
    from workers.relay import Relay
    from workers.roots import make_database

    settings = _settings()
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
    settings = _settings()
    broker = LedgerBroker(_rabbitmq_url(settings))
    with until_signal() as stop, job_context(settings) as context:
        run_worker(broker, context, wanted, stop)


@app.command()
def scheduler() -> None:
    """Return lost jobs and create partitions ahead of time."""
    from workers.roots import make_database
    from workers.scheduler import run_scheduler

    settings = _settings()
    with make_database(settings, "scheduler") as database, until_signal() as stop:
        run_scheduler(database, settings.database_url.get_secret_value(), stop)


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

    print(sign_token(_settings(), subject, role, timedelta(minutes=minutes)))


@app.command()
def advance_clock(seconds: Annotated[int, typer.Argument(help="How far time jumps ahead.", min=1)]) -> None:
    """Let time pass on a test database; refused with a live key."""
    from db.clock import advance_test_clock
    from workers.roots import make_database

    settings = _settings()
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


def _settings() -> Settings:
    settings = load()
    try:
        configure_logs(settings.log_level)
    except KeyError:
        message = f"LOG_LEVEL: {settings.log_level!r} is not a level"
        raise SettingsError(message) from None
    return settings


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
