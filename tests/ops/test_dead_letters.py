"""`payfleet dead` at the command line: what it says, what it takes, and how it ends."""

import getpass
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from db.audit import get_acts_on
from db.connection import Database
from domain.dead_letters import DeadJob
from domain.fingerprint import fingerprint
from domain.ids import Prefix, show
from domain.instants import instant
from ops import dead_letters
from ops.cli import app
from tests.burying import bury, job_now
from tests.refunding import ask_refund, pass_time, pay
from tests.stories import (
    ENCRYPTION_KEY,
    JWT_SECRET,
    SECRET_KEY,
    accept,
    event_body,
    job_ids,
    settings_for,
    store_webhook,
    transaction_data,
)

Run = Callable[..., Result]
ERROR = "Paystack has no transaction {}, which it had opened"


@pytest.fixture
def run(database: Database, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(dead_letters, "read_settings", lambda: settings_for(migrated_url))
    return lambda *arguments: CliRunner().invoke(app, ["dead", *map(str, arguments)])


def dead_initialization(database: Database, error: str | None = None) -> DeadJob:
    payment = accept(database)
    return bury(database, payment.id, error or ERROR.format(payment.reference))


def named(job: UUID | DeadJob) -> str:
    return show(Prefix.JOB, job if isinstance(job, UUID) else job.id)


def shown(run: Run, job: UUID | DeadJob) -> dict[str, Any]:
    return json.loads(run("show", named(job)).stdout)


def actors(database: Database, job: DeadJob) -> list[str]:
    with database.connection() as connection:
        return [entry.actor for entry in get_acts_on(connection, named(job))]


def test_the_same_error_of_many_payments_is_one_line(database: Database, run: Run) -> None:
    first, _, last = (dead_initialization(database) for _ in range(3))
    other = dead_initialization(database, "verify: HTTP 502")
    accept(database)
    listed = run("list")
    died = instant(other.died_at)
    assert listed.stdout.splitlines() == [
        f"0aa683b5  3 initialize_payment (payments), {instant(first.died_at)} to {instant(last.died_at)}",
        "          Paystack has no transaction <reference>, which it had opened",
        f"          such as {named(last)}",
        f"{fingerprint('verify: HTTP 502')}  1 initialize_payment (payments), {died} to {died}",
        "          verify: HTTP 502",
        f"          such as {named(other)}",
        "dead jobs: 4, errors: 2",
    ]
    assert run("list", "--error", "00000000").stdout == "dead jobs: 0, errors: 0\n"


def test_the_list_as_json_takes_the_same_filters(database: Database, run: Run) -> None:
    old = dead_initialization(database)
    pass_time(database, 60)
    new = dead_initialization(database)
    (group,) = json.loads(run("list", "--json", "--since", instant(new.died_at), "--queue", "payments").stdout)
    assert group == {
        "fingerprint": "0aa683b5",
        "kind": "initialize_payment",
        "queue": "payments",
        "count": 1,
        "firstAt": instant(new.died_at),
        "lastAt": instant(new.died_at),
        "example": named(new),
        "error": "Paystack has no transaction <reference>, which it had opened",
    }
    (group,) = json.loads(run("list", "--json", "--before", new.died_at.replace(tzinfo=None).isoformat()).stdout)
    assert group["example"] == named(old), "a time without a zone is UTC"
    assert json.loads(run("list", "--json", "--kind", "send_refund").stdout) == []


def test_a_job_is_shown_with_what_it_is_about_and_what_can_be_done(database: Database, run: Run) -> None:
    payment = pay(database)
    refund = ask_refund(database, payment)
    job = bury(database, refund.id, "no connection")
    told = shown(run, job)
    assert told == {
        "jobId": named(job),
        "state": "dead",
        "kind": "send_refund",
        "queue": "refunds",
        "payload": {"payment_id": str(payment.id), "refund_id": str(refund.id)},
        "attempts": 1,
        "failures": 1,
        "error": "no connection",
        "fingerprint": fingerprint("no connection"),
        "correlationId": "req_refund",
        "createdAt": instant(job.created_at),
        "diedAt": instant(job.died_at),
        "announcedAt": None,
        "about": {
            "payment": {
                "paymentId": show(Prefix.PAYMENT, payment.id),
                "status": "success",
                "amount": 50_000,
                "currency": "NGN",
                "expiresAt": instant(payment.expires_at),
                "reviewReason": None,
            },
            "refund": {
                "refundId": show(Prefix.REFUND, refund.id),
                "status": "pending",
                "amount": 50_000,
                "currency": "NGN",
                "paystackRefundId": None,
                "answerLost": False,
            },
        },
        "ifRetried": "it runs again, with all its tries",
        "ifDiscarded": f"{show(Prefix.REFUND, refund.id)} never reached Paystack: it fails, and its money can be"
        " refunded again",
        "acts": [],
    }


def test_a_webhook_is_shown_by_its_event_and_its_payment(database: Database, run: Run) -> None:
    payment = accept(database)
    store_webhook(database, event_body("charge.success", transaction_data(payment)))
    job = bury(database, job_ids(database, "apply_webhook")[0])
    told = shown(run, job)
    assert told["about"]["webhook"]["event"] == "charge.success"
    assert told["about"]["payment"]["paymentId"] == show(Prefix.PAYMENT, payment.id)


def test_a_job_that_is_not_dead_is_shown_as_it_stands_and_one_that_is_gone_by_what_was_done(
    database: Database, run: Run
) -> None:
    live = accept(database)
    told = shown(run, live.id)
    assert (told["state"], "runAt" in told, "ifRetried" in told) == ("ready", True, False)
    gone = dead_initialization(database)
    run("discard", named(gone), "--reason", "a test", "--by", "ada")
    told = shown(run, gone)
    assert told["state"] == "gone"
    assert [(act["actor"], act["action"], act["details"]["reason"]) for act in told["acts"]] == [
        ("ada", "job.discarded", "a test")
    ]


def test_an_id_is_taken_as_it_is_shown_and_as_it_stands_in_logs_and_messages(database: Database, run: Run) -> None:
    job = dead_initialization(database)
    for text in (named(job), str(job.id), job.id.hex):
        assert json.loads(run("show", text).stdout)["jobId"] == named(job)
    assert run("show", "job_nonsense").exit_code == 2
    assert run("show", "pay_01jd7v3m9ye5s8x4q2k6t0n1rc").exit_code == 2


def test_a_job_that_never_was_is_said_not_to_be(run: Run) -> None:
    result = run("show", "job_01jd7v3m9ye5s8x4q2k6t0n1rc")
    assert isinstance(result.exception, dead_letters.UnclearError)
    assert "the ledger has no job_01jd7v3m9ye5s8x4q2k6t0n1rc" in str(result.exception)


def test_retrying_by_id_says_what_became_of_each(database: Database, run: Run) -> None:
    dead, live = dead_initialization(database), accept(database)
    result = run("retry", named(dead), named(live.id))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{named(dead)} retried: due 20")
    assert lines[1:] == [
        f"{named(live.id)} not dead: it is not, or no longer, among the dead jobs that are meant",
        "1 retried, 1 not dead",
    ]
    assert actors(database, dead) == [getpass.getuser()]


def test_retrying_by_error_takes_those_and_no_others(database: Database, run: Run) -> None:
    meant = [dead_initialization(database) for _ in range(3)]
    other = dead_initialization(database, "another")
    result = run("retry", "--error", "0aa683b5", "--rate", "1000")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "3 retried")
    assert {job_now(database, job.id) for job in meant} == {("ready", 1, 0, None)}
    assert job_now(database, other.id) == ("dead", 1, 1, "another")
    assert run("retry", "--error", "0aa683b5").stdout == "no dead jobs\n"


@pytest.mark.parametrize("command", [["retry"], ["discard", "--reason", "a test"]])
def test_a_dry_run_changes_nothing(database: Database, run: Run, command: list[str]) -> None:
    job = dead_initialization(database)
    result = run(*command, "--kind", "initialize_payment", "--dry-run")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "a dry run: nothing is changed")
    assert job_now(database, job.id) == ("dead", 1, 1, job.error)
    assert actors(database, job) == []


@pytest.mark.parametrize("command", [["retry"], ["discard", "--reason", "a test"]])
def test_nothing_is_done_unless_it_is_clear_what_is_meant(database: Database, run: Run, command: list[str]) -> None:
    job = dead_initialization(database)
    for choice in ([], [named(job), "--queue", "payments"]):
        result = run(*command, *choice)
        assert isinstance(result.exception, dead_letters.UnclearError)
    assert job_now(database, job.id) == ("dead", 1, 1, job.error)


@pytest.mark.parametrize("reason", [[], ["--reason", " "]])
def test_nothing_is_discarded_without_a_reason(database: Database, run: Run, reason: list[str]) -> None:
    job = dead_initialization(database)
    assert run("discard", named(job), *reason).exit_code != 0
    assert job_now(database, job.id) == ("dead", 1, 1, job.error)


def test_what_may_not_be_discarded_is_said_and_left(database: Database, run: Run) -> None:
    refund = ask_refund(database, pay(database))
    job = bury(database, refund.id)
    with database.connection() as connection:
        connection.execute("UPDATE refunds SET is_unsettled = true, sent_at = payfleet_now()")
    assert shown(run, job)["ifDiscarded"].startswith("refused: Paystack may have")
    result = run("discard", "--kind", "send_refund", "--reason", "a test")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "1 refused")
    assert job_now(database, job.id) == ("dead", 1, 1, "no luck")


@pytest.mark.parametrize(("option", "value"), [("--since", "yesterday"), ("--rate", "0")])
def test_an_option_that_means_nothing_is_a_mistake_of_the_callers(run: Run, option: str, value: str) -> None:
    assert run("retry", "--kind", "send_refund", option, value).exit_code == 2


def test_a_mistake_ends_the_command_in_one_line(database: Database, migrated_url: str) -> None:
    job = dead_initialization(database)
    env = {
        "DATABASE_URL": migrated_url,
        "PAYSTACK_SECRET_KEY": SECRET_KEY,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
    }

    def payfleet(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ops", "dead", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    mistaken = payfleet("retry")
    assert (mistaken.returncode, mistaken.stdout, mistaken.stderr.count("\n")) == (2, "", 1)
    assert mistaken.stderr.startswith("payfleet: name the jobs that are meant")
    shown = payfleet("show", named(job))
    assert (shown.returncode, json.loads(shown.stdout)["jobId"]) == (0, named(job))


def test_a_user_without_a_name_must_say_who_acts(database: Database, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("no name for uid 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    job = dead_initialization(database)
    result = run("retry", named(job))
    assert isinstance(result.exception, dead_letters.UnclearError)
    assert run("retry", named(job), "--by", "ada").exit_code == 0
    assert actors(database, job) == ["ada"]
