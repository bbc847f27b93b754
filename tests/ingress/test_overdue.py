"""Repair on reading: with the scheduler dead, whoever reads a payment has its overdue look made, once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

from db import looks
from db.connection import Database
from domain.ids import Prefix, show
from domain.payment import NotPaid, Payment
from ingress import overdue
from jobs.context import JobContext
from jobs.verify import verify_payments
from tests.ingress.conftest import MakeApp, bearer
from tests.ingress.test_history import learn
from tests.ingress.test_input import in_envelope
from tests.stories import accept, job_ids, pass_time, rows, settings_for


@pytest.fixture
def attentive(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The application, which notices at once that nobody makes looks."""
    monkeypatch.setattr(overdue, "CHECK_SECONDS", 0)
    return client


@pytest.fixture
def payment(database: Database) -> Payment:
    """A payment whose first job is gone: only a look can end it."""
    accepted = accept(database)
    rows(database, "DELETE FROM jobs")
    return accepted


def read(client: FlaskClient, payment: Payment) -> Any:
    answer = client.get(f"/payments/{show(Prefix.PAYMENT, payment.id)}", headers=bearer())
    assert answer.status_code == 200
    return in_envelope(answer)["data"]


def asked(database: Database) -> int:
    return len(job_ids(database, "verify_payment"))


def test_reading_an_overdue_payment_has_it_looked_at_once_until_its_next_look_is_overdue(
    attentive: FlaskClient, context: JobContext, payment: Payment
) -> None:
    database = context.database
    pass_time(database, minutes=4, seconds=59)
    read(attentive, payment)
    assert asked(database) == 0, "the scheduler may just be coming"
    pass_time(database, seconds=1)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: read(attentive.application.test_client(), payment), range(8)))
    assert asked(database) == 1
    verify_payments(context, job_ids(database, "verify_payment"))
    read(attentive, payment)
    assert asked(database) == 0, "it has been made, and the next one is minutes away"
    pass_time(database, minutes=56)
    read(attentive, payment)
    verify_payments(context, job_ids(database, "verify_payment"))
    assert read(attentive, payment)["status"] == "abandoned"


def test_asking_for_a_payment_that_has_no_transaction_has_it_looked_at_too(
    attentive: FlaskClient, database: Database, payment: Payment
) -> None:
    pass_time(database, hours=2)
    answer = attentive.get(f"/payments/verify?reference={payment.reference}", headers=bearer())
    assert in_envelope(answer)["data"]["status"] == "pending"
    assert asked(database) == 1


def test_reading_what_is_decided_asks_nothing(
    attentive: FlaskClient, context: JobContext, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_time(context.database, hours=2)
    learn(context, payment, NotPaid(payment.reference, expired=True))
    monkeypatch.delattr(looks, "is_any_overdue")
    assert read(attentive, payment)["status"] == "abandoned"


def test_a_process_asks_now_and_then_whether_anything_is_overdue_and_not_with_each_read(
    make_app: MakeApp, migrated_url: str, database: Database, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[bool] = []
    is_any_overdue = looks.is_any_overdue

    def count(*arguments: Any, **named: Any) -> bool:
        questions.append(is_any_overdue(*arguments, **named))
        return questions[-1]

    monkeypatch.setattr(looks, "is_any_overdue", count)
    client = make_app(settings_for(migrated_url)).test_client()
    for _ in range(20):
        read(client, payment)
    assert questions == [False]
    monkeypatch.setattr(overdue, "CHECK_SECONDS", 0)
    pass_time(database, hours=2)
    read(client, payment)
    assert questions == [False, True]
    assert asked(database) == 1


def test_a_database_that_takes_no_writes_is_read_all_the_same(
    app_with: Callable[[str], FlaskClient], database: Database, payment: Payment
) -> None:
    pass_time(database, hours=2)
    assert read(app_with("default_transaction_read_only=on"), payment)["status"] == "pending"
    assert asked(database) == 0


def test_a_look_that_somebody_holds_does_not_fail_the_read(
    app_with: Callable[[str], FlaskClient], database: Database, payment: Payment
) -> None:
    pass_time(database, hours=2)
    impatient = app_with("lock_timeout=100ms")
    with database.transaction() as tx:
        looks.request_look_if_overdue(tx, payment, seconds=0, correlation_id="req_holder")
        assert read(impatient, payment)["status"] == "pending"
    assert asked(database) == 1
