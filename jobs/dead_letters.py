"""What an operator does to dead jobs: each act in a transaction of its own, with its line in the audit log.

Of two operators at once, the second finds the job no longer dead. What discarding may do is decided in
`domain/dead_letters.py`; here it is done, by the same ways in which workers change refunds and payments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from db import dead_letters, methods, payments, refunds, verifications, webhooks
from db.audit import Act, Action, insert_acts
from db.clock import get_now
from db.dead_letters import PAGE_ROWS_MAX, TwinError
from db.sealing import UnsealError
from db.webhooks import HandledWebhook, Verdict
from domain.dead_letters import AskInstead, Drop, EndRefund, Refuse, Subject, Told, decide_discarding
from domain.ids import Prefix, show
from domain.instants import instant
from domain.payment import Source
from domain.refund import GIVEN_UP
from jobs.refund_events import Hint, follow_hints
from jobs.refund_news import LearnedOfRefund, apply_refund_news
from jobs.webhooks import read_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from db.connection import Connection, Database
    from db.sealing import Seal
    from domain.dead_letters import DeadJob, Discarding, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who acts, and what is needed for it; a dry run decides everything and writes nothing."""

    database: Database
    seal: Seal
    live: bool
    name: str
    dry_run: bool = False


class Result(StrEnum):
    """What became of one dead job."""

    RETRIED = "retried"
    GAVE_WAY = "gave way"
    DISCARDED = "discarded"
    REFUSED = "refused"
    NOT_DEAD = "not dead"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dead job, or would, and what that means."""

    job_id: UUID
    result: Result
    meaning: str


def find_dead_jobs(database: Database, wanted: Wanted) -> Iterator[DeadJob]:
    """Read the dead jobs that are meant, page by page; what dies after the first page is read is not."""
    with database.connection() as connection:
        now = get_now(connection)
    wanted = replace(wanted, before=now if wanted.before is None else min(wanted.before, now))
    after: UUID | None = None
    while True:
        with database.connection() as connection:
            page = dead_letters.get_dead_jobs(connection, after=after)
        yield from filter(wanted.fits, page)
        if len(page) < PAGE_ROWS_MAX:
            return
        after = page[-1].id


def subject_of(connection: Connection, operator: Operator, job: DeadJob) -> Subject:
    """Look up what a job is about, as it stands."""
    payment_id, refund_id = job.id_of("payment_id"), job.id_of("refund_id")
    method_id, webhook_id = job.id_of("payment_method_id"), job.id_of("webhook_id")
    sending = None if refund_id is None else refunds.get_sendings(connection, [refund_id]).get(refund_id)
    told = None if webhook_id is None else _told(connection, operator, webhook_id)
    if told is not None:
        payment_id = told.payment_id
    return Subject(
        twin=dead_letters.get_twin(connection, job),
        payment=None if payment_id is None else payments.get_payment(connection, payment_id),
        refund=None if sending is None else sending.refund,
        is_unsettled=sending is not None and sending.is_unsettled,
        method=None if method_id is None else methods.get_methods(connection, [method_id]).get(method_id),
        told=told,
    )


def _told(connection: Connection, operator: Operator, webhook_id: UUID) -> Told | None:
    stored = webhooks.get_webhooks(connection, [webhook_id]).get(webhook_id)
    if stored is None or stored.verdict is not Verdict.RECEIVED:
        return None
    try:
        reading = read_event(operator.seal.open(stored.body_sealed), live=operator.live)
    except UnsealError:
        return Told(webhook_id=webhook_id)
    is_acted_on = reading.fact is not None or reading.told is not None
    return Told(
        webhook_id=webhook_id,
        event=reading.event,
        payment_id=reading.payment_id if is_acted_on else None,
        refund=reading.told,
    )


class Pace:
    """Spreads jobs in time, so that at most `rate` of them become due within a second."""

    def __init__(self, rate: float) -> None:
        """Begin with the first job that asks."""
        self._step = timedelta(seconds=1 / rate)
        self._next: datetime | None = None

    def slot(self, now: datetime) -> datetime:
        """Give the next job its time; those that were not used up in time are not caught up on."""
        at = now if self._next is None else max(now, self._next)
        self._next = at + self._step
        return at


def retry_jobs(operator: Operator, ids: Iterable[UUID], *, wanted: Wanted, rate: float) -> Iterator[Outcome]:
    """Let dead jobs run again, at most `rate` of them in a second; each is committed before its outcome is told.

    A job gives way to a live one that does the same work, also to one that was revived just before.
    """
    pace = Pace(rate)
    revived: dict[str, UUID] = {}
    for job_id in ids:
        try:
            yield _retry(operator, job_id, wanted, pace, revived)
        except TwinError:  # made between the look and the act: now it is seen
            yield _retry(operator, job_id, wanted, pace, revived)


def _retry(operator: Operator, job_id: UUID, wanted: Wanted, pace: Pace, revived: dict[str, UUID]) -> Outcome:
    with operator.database.transaction() as tx:
        job = dead_letters.lock_dead_job(tx, job_id)
        if job is None or not wanted.fits(job):
            return _not_dead(job_id)
        twin = dead_letters.get_twin(tx, job) or (job.dedupe_key and revived.get(job.dedupe_key))
        if twin:
            meaning = f"{show(Prefix.JOB, twin)} does the same work"
            if not operator.dry_run:
                dead_letters.delete_dead_job(tx, job.id)
                _record(tx, operator, Action.JOB_GAVE_WAY, job, {"twin": show(Prefix.JOB, twin)})
            return Outcome(job.id, Result.GAVE_WAY, meaning)
        run_at = pace.slot(get_now(tx))
        if not operator.dry_run:
            dead_letters.revive_job(tx, job.id, run_at=run_at)
            _record(tx, operator, Action.JOB_RETRIED, job, {"runAt": instant(run_at)})
        if job.dedupe_key is not None:
            revived[job.dedupe_key] = job.id
        return Outcome(job.id, Result.RETRIED, f"due {instant(run_at)}")


def discard_jobs(operator: Operator, ids: Iterable[UUID], *, wanted: Wanted, reason: str) -> Iterator[Outcome]:
    """Take dead jobs out of the ledger, and end what would wait for them for ever; money is not lost sight of."""
    for job_id in ids:
        yield _discard(operator, job_id, wanted, reason)


def _discard(operator: Operator, job_id: UUID, wanted: Wanted, reason: str) -> Outcome:
    with operator.database.transaction() as tx:
        job = dead_letters.lock_dead_job(tx, job_id)
        if job is None or not wanted.fits(job):
            return _not_dead(job_id)
        payment_id, refund_id = job.id_of("payment_id"), job.id_of("refund_id")
        if payment_id is not None and refund_id is not None:
            payments.lock_payments(tx, [payment_id])  # under it, a call for its refund cannot begin
        subject = subject_of(tx, operator, job)
        discarding = decide_discarding(job, subject)
        if isinstance(discarding, Refuse):
            return Outcome(job.id, Result.REFUSED, discarding.meaning)
        if not operator.dry_run:
            dead_letters.delete_dead_job(tx, job.id)
            _carry_out(tx, job, subject, discarding)
            _record(tx, operator, Action.JOB_DISCARDED, job, {"reason": reason, "meaning": discarding.meaning})
        return Outcome(job.id, Result.DISCARDED, discarding.meaning)


def _carry_out(tx: Connection, job: DeadJob, subject: Subject, discarding: Discarding) -> None:
    match discarding:
        case EndRefund(_, refund):
            news = LearnedOfRefund(refund.payment_id, refund.id, GIVEN_UP, job.correlation_id, Source.OPERATOR)
            apply_refund_news(tx, [news])
        case AskInstead(_, payment, told):
            if told is None:
                verifications.request_look(tx, payment.id, correlation_id=job.correlation_id)
            else:
                follow_hints(tx, [Hint(payment.id, told, job.correlation_id)])
        case Drop() | Refuse():
            pass
        case _:
            assert_never(discarding)
    if subject.told is not None:
        webhook = subject.told
        handled = HandledWebhook(webhook.webhook_id, Verdict.IGNORED, webhook.event, "discarded", webhook.payment_id)
        webhooks.mark_webhooks(tx, [handled])


def _not_dead(job_id: UUID) -> Outcome:
    return Outcome(job_id, Result.NOT_DEAD, "it is not, or no longer, among the dead jobs that are meant")


def _record(tx: Connection, operator: Operator, action: Action, job: DeadJob, details: Mapping[str, Any]) -> None:
    """Write what was done, with all that the job's row held: nobody can look it up there any more."""
    kept = {
        "kind": job.kind,
        "queue": job.queue,
        "payload": job.payload,
        "attempts": job.attempts,
        "failures": job.failures,
        "error": job.error,
        "correlationId": job.correlation_id,
        "createdAt": instant(job.created_at),
        "diedAt": instant(job.died_at),
    }
    insert_acts(tx, [Act(action, show(Prefix.JOB, job.id), kept | dict(details))], actor=operator.name)
