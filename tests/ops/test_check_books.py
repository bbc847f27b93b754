"""`payfleet check-books` as a process: what it prints, and the exit code that a monitor goes by."""

import json
import subprocess
import sys

from db.connection import Database
from db.sealing import new_key
from domain.books import AT_PAYSTACK, Check
from domain.ids import Prefix, show
from jobs.paystack.transport import Transport
from ops.embedded.ports import free_port
from sandbox.harness import running_sandbox
from sandbox.world import Options
from tests.stories import EMAIL, JWT_SECRET, SECRET_KEY, accept, rows


def run(
    database_url: str, *arguments: str, paystack_url: str = "http://127.0.0.1:1"
) -> subprocess.CompletedProcess[str]:
    environment = {
        "DATABASE_URL": database_url,
        "DATABASE_POOL_MIN": "0",
        "PAYSTACK_SECRET_KEY": SECRET_KEY,
        "PAYSTACK_BASE_URL": paystack_url,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": new_key(),
    }
    command = [sys.executable, "-m", "ops", "check-books", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_sound_books_end_with_0(database: Database, migrated_url: str) -> None:
    accept(database)
    done = run(migrated_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Looked at 1 payments, 0 events.\n")
    assert all(check in done.stdout for check in set(Check) - AT_PAYSTACK)


def test_findings_end_with_1_and_are_shown_to_a_person(database: Database, migrated_url: str) -> None:
    payments = sorted(show(Prefix.PAYMENT, accept(database).id) for _ in range(11))
    rows(database, "UPDATE live_orders SET paid = true")
    rows(database, "UPDATE payments SET status = 'FAILED'")
    done = run(migrated_url, "--since", "1h")
    assert done.returncode == 1
    assert "\norder_blocked: 11\n  A payment that is over has let go of its order.\n" in done.stdout
    assert sum(f"    {payment}  FAILED, and it holds its order\n" in done.stdout for payment in payments) == 10


def test_findings_are_shown_to_a_monitor(database: Database, migrated_url: str) -> None:
    payment = accept(database)
    rows(database, "UPDATE jobs SET state = 'dead', last_error = 'a defect'")
    done = run(migrated_url, "--json", "--quiet-minutes", "1")
    report = json.loads(done.stdout)
    assert (done.returncode, report["isClean"], report["lookedAt"]) == (1, False, {"payments": 1, "events": 0})
    (check,) = [check for check in report["checks"] if check["count"]]
    example = {"id": show(Prefix.JOB, payment.id), "detail": "initialize_payment: a defect"}
    assert (check["name"], check["isExact"], check["examples"]) == ("job_dead", True, [example])
    assert {check["name"] for check in report["checks"]} == set(Check) - AT_PAYSTACK


def test_what_cannot_be_checked_ends_with_2(migrated_url: str, database_url: str) -> None:
    away = run(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert (away.returncode, away.stdout) == (2, "")
    assert "could not be checked" in away.stderr
    assert run(migrated_url, "--since", "soon").returncode == 2
    assert run("").returncode == 2, "and no DATABASE_URL"


def test_a_database_that_is_not_payfleets_ends_with_2(migrated_url: str) -> None:
    assert run(migrated_url.rpartition("/")[0] + "/postgres").returncode == 2


def test_the_comparison_with_paystack_is_part_of_the_report(database: Database, migrated_url: str) -> None:
    waiting = accept(database)
    with running_sandbox(Options(secret_key=SECRET_KEY)) as sandbox:
        paystack = Transport(sandbox.url, SECRET_KEY)
        body = {"email": EMAIL, "amount": 50_000, "reference": waiting.reference}
        paystack.exchange("POST", "/transaction/initialize", body)
        agreed = run(migrated_url, "--with-paystack", paystack_url=sandbox.url)
        assert (agreed.returncode, agreed.stderr) == (0, "")
        assert agreed.stdout.startswith("Looked at 1 payments, 0 events, 1 gateway transactions, 0 foreign transact")
        assert all(check in agreed.stdout for check in Check)
        sandbox.control(f"transactions/{waiting.reference}/pay", {})
        differs = run(migrated_url, "--with-paystack", "--quiet-minutes", "0", "--json", paystack_url=sandbox.url)
    assert differs.returncode == 1
    found = {check["name"]: check["examples"] for check in json.loads(differs.stdout)["checks"] if check["count"]}
    assert [example["id"] for example in found["gateway_unpaid"]] == [show(Prefix.PAYMENT, waiting.id)]


def test_a_paystack_that_is_away_ends_with_2(database: Database, migrated_url: str) -> None:
    with running_sandbox(Options(secret_key="sk_test_of_another_account")) as sandbox:
        done = run(migrated_url, "--with-paystack", paystack_url=sandbox.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "payfleet: the books could not be checked: asking Paystack: Paystack refuses the secret key\n"
