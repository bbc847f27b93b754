"""`payfleet dead`: what an operator sees of the dead jobs, and does about them."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from domain.dead_letters import Refuse, Wanted, decide_discarding, grouped, meaning_of_retry
from domain.errors import PayfleetError
from domain.fingerprint import fingerprint
from domain.ids import MalformedIdError, Prefix, parse, show
from domain.instants import instant
from domain.jobs import JobState
from ops.environment import read_settings

if TYPE_CHECKING:
    from db.audit import AuditEntry
    from db.dead_letters import JobNow
    from domain.dead_letters import Group, Subject
    from jobs.dead_letters import Operator, Outcome

app = typer.Typer(help="List, show, retry and discard dead jobs.", no_args_is_help=True)


class UnclearError(PayfleetError):
    """It is not clear which jobs are meant, or by whom."""


def _instant_of(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no time such as 2026-03-01T12:00 (in UTC, unless it says otherwise)"
        raise typer.BadParameter(message) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _job_id(text: str) -> UUID:
    """Read an id as it is shown (`job_…`), or as logs and messages have it."""
    try:
        return parse(Prefix.JOB, text) if text.startswith(f"{Prefix.JOB}_") else UUID(text)
    except (MalformedIdError, ValueError):
        message = f"{text!r} is no id of a job"
        raise typer.BadParameter(message) from None


Job = Annotated[UUID, typer.Argument(parser=_job_id, metavar="JOB", help="Its id: job_…, or as in the logs.")]
Jobs = Annotated[list[UUID] | None, typer.Argument(parser=_job_id, metavar="JOB", help="Ids of dead jobs.")]
Kind = Annotated[str | None, typer.Option(help="Only jobs of this kind.")]
QueueName = Annotated[str | None, typer.Option("--queue", help="Only jobs of this queue.")]
Error = Annotated[str | None, typer.Option(help="Only jobs whose error has this fingerprint.")]
Since = Annotated[datetime | None, typer.Option(parser=_instant_of, metavar="TIME", help="Died then or later.")]
Before = Annotated[datetime | None, typer.Option(parser=_instant_of, metavar="TIME", help="Died earlier.")]
By = Annotated[str | None, typer.Option(help="Who acts, for the audit log; by default the user of this system.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]


@app.command("list")
def list_jobs(
    *,
    kind: Kind = None,
    queue: QueueName = None,
    error: Error = None,
    since: Since = None,
    before: Before = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the dead jobs, those with the same error together."""
    from jobs.dead_letters import find_dead_jobs

    wanted = Wanted(kind=kind, queue=queue, error=error, since=since, before=before)
    with _operator() as operator:
        groups = grouped(find_dead_jobs(operator.database, wanted))
    if as_json:
        _print_json([_render_group(group) for group in groups])
        return
    for group in groups:
        span = f"{instant(group.first_at)} to {instant(group.last_at)}"
        print(f"{group.fingerprint}  {group.count} {group.kind} ({group.queue}), {span}")
        print(f"          {group.error}")
        print(f"          such as {show(Prefix.JOB, group.example)}")
    print(f"dead jobs: {sum(group.count for group in groups)}, errors: {len(groups)}")


@app.command("show")
def show_job(job: Job) -> None:
    """Write all that is known of one job as JSON: what it is about, and what retrying or discarding it means."""
    from db.audit import get_acts_on
    from db.dead_letters import get_job
    from jobs.dead_letters import subject_of

    with _operator() as operator, operator.database.connection() as connection:
        found = get_job(connection, job)
        subject = None if found is None else subject_of(connection, operator, found.job)
        acts = get_acts_on(connection, show(Prefix.JOB, job))
    if found is None and not acts:
        message = f"the ledger has no {show(Prefix.JOB, job)}: it is done, or never was"
        raise UnclearError(message)
    _print_json(_render_job(job, found, subject, acts))


@app.command("retry")
def retry(
    ids: Jobs = None,
    *,
    kind: Kind = None,
    queue: QueueName = None,
    error: Error = None,
    since: Since = None,
    before: Before = None,
    rate: Annotated[float, typer.Option(help="How many may become due in a second.", min=0.001, max=10_000)] = 10,
    dry_run: DryRun = False,
    by: By = None,
) -> None:
    """Let dead jobs run again, with all their tries: those named, or those that the filters choose."""
    from jobs.dead_letters import retry_jobs

    wanted = Wanted(kind=kind, queue=queue, error=error, since=since, before=before)
    with _operator(by, dry_run=dry_run) as operator:
        _report(operator, retry_jobs(operator, _chosen(operator, ids, wanted), wanted=wanted, rate=rate))


@app.command("discard")
def discard(
    ids: Jobs = None,
    *,
    kind: Kind = None,
    queue: QueueName = None,
    error: Error = None,
    since: Since = None,
    before: Before = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    dry_run: DryRun = False,
    by: By = None,
) -> None:
    """Take dead jobs out of the ledger for good: those named, or those that the filters choose."""
    from jobs.dead_letters import discard_jobs

    if not reason.strip():
        message = "--reason says nothing"
        raise UnclearError(message)
    wanted = Wanted(kind=kind, queue=queue, error=error, since=since, before=before)
    with _operator(by, dry_run=dry_run) as operator:
        _report(operator, discard_jobs(operator, _chosen(operator, ids, wanted), wanted=wanted, reason=reason))


@contextmanager
def _operator(by: str | None = None, *, dry_run: bool = False) -> Generator[Operator]:
    from db.sealing import Seal
    from jobs.dead_letters import Operator
    from workers.roots import make_database

    settings = read_settings()
    with make_database(settings, "cli") as database:
        yield Operator(
            database=database,
            seal=Seal(settings.encryption_key),
            live=settings.is_live,
            name=by or _system_user(),
            dry_run=dry_run,
        )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user need not have a name
        message = "this system's user has no name: say with --by who acts"
        raise UnclearError(message) from None


def _chosen(operator: Operator, ids: list[UUID] | None, wanted: Wanted) -> Iterable[UUID]:
    from jobs.dead_letters import find_dead_jobs

    if bool(ids) == (wanted != Wanted()):
        message = "name the jobs that are meant, or choose them by --kind, --queue, --error, --since or --before"
        raise UnclearError(message)
    return ids or (job.id for job in find_dead_jobs(operator.database, wanted))


def _report(operator: Operator, outcomes: Iterator[Outcome]) -> None:
    """Say of each job what became of it, and leave with 1 where that is not what was asked for."""
    from jobs.dead_letters import Result

    if operator.dry_run:
        print("a dry run: nothing is changed")
    counts = Counter[Result]()
    for outcome in outcomes:
        counts[outcome.result] += 1
        print(f"{show(Prefix.JOB, outcome.job_id)} {outcome.result}: {outcome.meaning}", flush=True)
    print(", ".join(f"{count} {result}" for result, count in counts.items()) or "no dead jobs")
    if counts[Result.REFUSED] or counts[Result.NOT_DEAD]:
        raise typer.Exit(1)


def _render_group(group: Group) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "kind": group.kind,
        "queue": group.queue,
        "count": group.count,
        "firstAt": instant(group.first_at),
        "lastAt": instant(group.last_at),
        "example": show(Prefix.JOB, group.example),
        "error": group.error,
    }


def _render_job(job_id: UUID, found: JobNow | None, subject: Subject | None, acts: list[AuditEntry]) -> dict[str, Any]:
    shown: dict[str, Any] = {"jobId": show(Prefix.JOB, job_id), "state": "gone"}
    if found is not None and subject is not None:
        shown |= _render_row(found) | {"about": _render_subject(subject)}
        if found.state == JobState.DEAD:
            discarding = decide_discarding(found.job, subject)
            refused = "refused: " if isinstance(discarding, Refuse) else ""
            shown |= {
                "ifRetried": meaning_of_retry(found.job, subject),
                "ifDiscarded": f"{refused}{discarding.meaning}",
            }
    shown["acts"] = [
        {"at": instant(act.at), "actor": act.actor, "action": act.action, "details": act.details} for act in acts
    ]
    return shown


def _render_row(found: JobNow) -> dict[str, Any]:
    job, is_dead = found.job, found.state == JobState.DEAD
    return {
        "state": found.state,
        "kind": job.kind,
        "queue": job.queue,
        "payload": job.payload,
        "attempts": job.attempts,
        "failures": job.failures,
        "error": job.error,
        "fingerprint": fingerprint(job.error),
        "correlationId": job.correlation_id,
        "createdAt": instant(job.created_at),
        "diedAt" if is_dead else "runAt": instant(job.died_at),
        "announcedAt" if is_dead else "sentAt": instant(found.sent_at),
    }


def _render_subject(subject: Subject) -> dict[str, Any]:
    about: dict[str, Any] = {}
    if subject.payment is not None:
        payment = subject.payment
        about["payment"] = {
            "paymentId": show(Prefix.PAYMENT, payment.id),
            "status": payment.status.lower(),
            "amount": payment.money.amount,
            "currency": payment.money.currency,
            "expiresAt": instant(payment.expires_at),
            "reviewReason": payment.review_reason,
        }
    if subject.refund is not None:
        refund = subject.refund
        about["refund"] = {
            "refundId": show(Prefix.REFUND, refund.id),
            "status": refund.status.lower(),
            "amount": refund.money.amount,
            "currency": refund.money.currency,
            "paystackRefundId": refund.gateway_refund_id,
            "answerLost": subject.is_unsettled,
        }
    if subject.method is not None:
        method = subject.method
        about["method"] = {
            "paymentMethodId": show(Prefix.PAYMENT_METHOD, method.id),
            "status": method.status.lower(),
        }
    if subject.told is not None:
        about["webhook"] = {
            "webhookId": show(Prefix.WEBHOOK, subject.told.webhook_id),
            "event": subject.told.event,
        }
    if subject.twin is not None:
        about["sameWork"] = show(Prefix.JOB, subject.twin)
    return about


def _print_json(value: object) -> None:
    import orjson

    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
