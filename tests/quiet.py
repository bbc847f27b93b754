"""Payfleet at the offline Paystack: doing all that is due until nothing is left, and holding the two books together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from db import events
from db.connection import Database
from domain.books import Report, Window
from domain.ids import MalformedIdError, Prefix, payment_of, show
from domain.jobs import JobKind
from domain.payment import PAID
from jobs import janitor
from jobs.books import check_books
from jobs.context import JobContext
from sandbox.harness import RunningSandbox
from tests.crashing import patiently
from tests.stories import job_ids, pass_time, rows
from workers.actors import USE_CASES

STEP_SECONDS = 120.0  # longer than any lease
_STEPS_MAX = 60
_EVENTS_MAX = 5_000
_WINDOW = Window(since=timedelta(days=400), quiet=timedelta(minutes=1))


@dataclass(frozen=True)
class Shop:
    """One Payfleet, and the Paystack that it talks to."""

    context: JobContext
    sandbox: RunningSandbox

    @property
    def database(self) -> Database:
        return self.context.database

    def run(self, kind: JobKind, ids: Sequence[UUID] | None = None) -> None:
        """Deliver jobs of a kind in one message: these, or all there are."""
        given = job_ids(self.database, kind) if ids is None else ids
        if given:
            patiently(lambda: USE_CASES[kind](self.context, given))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for Paystack as well."""
        pass_time(self.database, seconds=seconds)
        self.sandbox.control("clock", {"advance_seconds": seconds})

    def run_due(self) -> None:
        """Do once what workers, relay and scheduler do."""
        janitor.sweep_once(self.database, unclaimed_seconds=0)
        janitor.look_once(self.database, limit=1_000)
        for kind in JobKind:
            self.run(kind)
        with self.database.connection() as connection:
            told = events.lease_events(connection, limit=_EVENTS_MAX, lease_seconds=1)
            events.mark_published(connection, [event.id for event in told])

    def run_to_quiet(self, *, seconds: float = STEP_SECONDS) -> None:
        """Do what is due, and let time pass, until no job is left but those that are dead."""
        for _ in range(_STEPS_MAX):
            self.pass_time(seconds)
            self.run_due()
            if not self.jobs_left():
                return
        raise AssertionError(self.jobs_left())

    def jobs_left(self) -> list[tuple[Any, ...]]:
        """What is still to be done some time."""
        return rows(self.database, "SELECT kind, run_at, last_error FROM jobs WHERE state <> 'dead'")


def disagreements(shop: Shop) -> list[str]:
    """What must not be once everything is quiet: in our books, in Paystack's, or between the two."""
    report = Report()
    check_books(shop.database, _WINDOW, report)
    found = [
        f"{check}: {subject}: {detail}"
        for check, findings in report.findings.items()
        for subject, detail in findings.items()
    ]
    book = shop.sandbox.control("book")
    return found + _of_payments(shop.database, book) + _of_refunds(shop.database, book)


def _of_payments(database: Database, book: dict[str, Any]) -> list[str]:
    paid: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    found: list[str] = []
    ours = {
        row[0]: row[1:]
        for row in rows(
            database, "SELECT id, status::text, amount, currency, gateway_transaction_id, refunded FROM payments"
        )
    }
    for transaction in book["transactions"]:
        try:
            payment_id, _ = payment_of(transaction["reference"])
        except MalformedIdError:
            continue  # of another shop
        if payment_id not in ours:
            found.append(f"Paystack has {transaction['reference']}, of which nothing is known")
        elif transaction["paid_at"]:
            paid[payment_id].append(transaction)
    for payment_id, (status, amount, currency, number, refunded) in ours.items():
        name = show(Prefix.PAYMENT, payment_id)
        if len(paid[payment_id]) > 1:
            found.append(f"{name} was paid {len(paid[payment_id])} times")
        right = {t["id"]: t for t in paid[payment_id] if (t["amount"], t["currency"]) == (amount, currency)}
        if (status in PAID) != bool(right):
            found.append(f"{name} is {status}, and Paystack has {len(right)} payments of it")
        elif status in PAID and number not in right:
            found.append(f"{name} holds a transaction that did not pay it")
        elif status in PAID and refunded != right[int(number)]["refunded"]:
            found.append(f"{name} gave back {refunded}, by Paystack's book {right[int(number)]['refunded']}")
    return found


_SAME = {
    "PENDING": set[str](),
    "PROCESSING": {"pending", "processing"},
    "NEEDS_ATTENTION": {"needs-attention"},
    "SUCCESS": {"processed"},
    "FAILED": {"failed"},
}


def _of_refunds(database: Database, book: dict[str, Any]) -> list[str]:
    theirs = {refund["merchant_note"]: refund for refund in book["refunds"]}
    times = Counter(refund["merchant_note"] for refund in book["refunds"])
    found = [f"Paystack made a refund {n} times: {note}" for note, n in times.items() if n > 1]
    for refund_id, status, amount in rows(database, "SELECT id, status::text, amount FROM refunds"):
        name = show(Prefix.REFUND, refund_id)
        refund = theirs.pop(f"Payfleet {name}", None)
        if refund is None:
            if status != "FAILED":
                found.append(f"{name} is {status}, and Paystack has not got it")
        elif refund["status"] not in _SAME[status] or int(refund["amount"]) != amount:
            found.append(f"{name} is {status} of {amount}, at Paystack {refund['status']} of {refund['amount']}")
    return found + [f"Paystack made a refund that nobody asked for: {note}" for note in theirs]
