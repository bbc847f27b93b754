"""Asking Paystack about saved methods, against a real Postgres; nothing becomes active without Paystack's word."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from db import methods
from db.clock import advance_test_clock
from db.connection import Database
from db.jobs import NewJob, enqueue_jobs
from db.methods import NewMethod
from domain.errors import ErrorCode
from domain.jobs import JobKind
from domain.method import MethodStatus, PaymentMethod
from jobs import methods as use_case
from jobs.context import JobContext
from jobs.methods import LEASE_SECONDS, check_methods, deactivate_methods
from tests.jobs.scripted_paystack import Held, ScriptedPaystack, refuses, resets, says
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    active_codes,
    authorization,
    job_ids,
    method_now,
    rows,
    save_method,
    seal,
    settings_for,
)

S = MethodStatus
CARD = {
    "authorization_code": AUTHORIZATION_CODE,
    "reusable": True,
    "signature": "SIG_ada",
    "channel": "card",
    "card_type": "visa ",
    "brand": "visa",
    "last4": "4081",
    "exp_month": "12",
    "exp_year": "2030",
    "bank": "TEST BANK",
    "country_code": "NG",
    "account_name": None,
}


@pytest.fixture(autouse=True)
def a_card_at_paystack(paystack: ScriptedPaystack) -> None:
    paystack.authorizations[EMAIL] = [CARD]


def add(
    database: Database, code: str = AUTHORIZATION_CODE, email: str = EMAIL, user_id: str = "user-1"
) -> PaymentMethod:
    """Add a method as the ingress does."""
    new = NewMethod(
        user_id=user_id,
        authorization_sealed=seal().seal(code.encode()),
        email_sealed=seal().seal(email.encode()),
        card_type="mastercard",
    )
    with database.connection() as connection:
        method = methods.accept_method(
            connection, new=new, caller="c", key=None, fingerprint=b"", correlation_id="req_test", trace_context=None
        )
    assert method is not None
    return method


def check(context: JobContext) -> None:
    check_methods(context, job_ids(context.database, "check_payment_method"))


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def test_a_code_that_paystack_knows_becomes_an_active_method(context: JobContext, paystack: ScriptedPaystack) -> None:
    method = add(context.database)
    assert method.status is S.PENDING
    check(context)
    after = method_now(context.database, method.id)
    assert (after.status, after.is_default, after.type) == (S.ACTIVE, True, "card")
    assert (after.card_type, after.card_brand, after.card_last4) == ("visa", "visa", "4081"), "Paystack's data wins"
    assert (after.card_exp_month, after.card_exp_year, after.bank_name) == (12, 2030, "TEST BANK")
    assert [call.path for call in paystack.calls] == ["/customer/ada.lovelace%40example.com"]
    assert job_ids(context.database, "check_payment_method") == []


@pytest.mark.parametrize(
    ("at_paystack", "code"),
    [
        ({}, ErrorCode.PAYSTACK_AUTHORIZATION_INVALID),
        ({EMAIL: []}, ErrorCode.PAYSTACK_AUTHORIZATION_INVALID),
        ({EMAIL: [{**CARD, "authorization_code": "AUTH_other"}]}, ErrorCode.PAYSTACK_AUTHORIZATION_INVALID),
        ({EMAIL: [{**CARD, "reusable": False}]}, ErrorCode.INVALID_PAYMENT_METHOD),
    ],
)
def test_a_code_that_cannot_be_charged_is_rejected_with_the_reason(
    context: JobContext, paystack: ScriptedPaystack, at_paystack: dict[str, Any], code: ErrorCode
) -> None:
    paystack.authorizations = at_paystack
    method = add(context.database)
    check(context)
    after = method_now(context.database, method.id)
    assert (after.status, after.failure_code, after.is_default) == (S.REJECTED, code, False)
    assert job_ids(context.database, "check_payment_method") == []


def test_without_paystacks_word_a_method_stays_pending_and_is_asked_about_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    method = add(context.database)
    paystack.next(resets, says(502, b"<html>"), refuses("Invalid key", status=401), refuses("No", status=403))
    for _ in range(4):
        check(context)
        assert method_now(context.database, method.id).status is S.PENDING
        pass_time(context.database, 100)
    assert rows(context.database, "SELECT failures FROM jobs") == [(4,)]
    check(context)
    assert method_now(context.database, method.id).status is S.ACTIVE


def test_a_spent_quota_postpones_without_counting_a_failure(context: JobContext, paystack: ScriptedPaystack) -> None:
    add(context.database)
    paystack.next(says(429, b"", retry_after="40"))
    check(context)
    assert rows(context.database, "SELECT state::text, failures FROM jobs") == [("ready", 0)]


def test_a_card_added_again_is_the_method_that_held_it_with_its_newer_code(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    first = save_method(context.database, authorization("AUTH_older", email=EMAIL.upper()))
    again = add(context.database)
    check(context)
    after = method_now(context.database, again.id)
    assert (after.status, after.merged_into) == (S.INACTIVE, first.id)
    assert method_now(context.database, first.id).status is S.ACTIVE
    assert active_codes(context.database) == [AUTHORIZATION_CODE]


def test_one_card_of_two_users_is_two_methods(context: JobContext) -> None:
    save_method(context.database, user_id="user-2")
    method = add(context.database)
    check(context)
    assert method_now(context.database, method.id).status is S.ACTIVE


def test_a_card_that_was_taken_away_comes_back_as_a_new_method(context: JobContext) -> None:
    first = save_method(context.database)
    rows(context.database, "UPDATE payment_methods SET status = 'INACTIVE', is_default = false")
    method = add(context.database)
    check(context)
    assert method_now(context.database, first.id).status is S.INACTIVE
    assert method_now(context.database, method.id).is_default


def test_the_same_card_added_many_times_at_once_is_one_method(context: JobContext) -> None:
    for _ in range(8):
        add(context.database)
    ids = job_ids(context.database, "check_payment_method")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda id_: check_methods(context, [id_]), ids))
    assert len(active_codes(context.database)) == 1
    merged = rows(context.database, "SELECT count(*) FROM payment_methods WHERE merged_into IS NOT NULL")
    assert merged == [(7,)]


def test_a_method_taken_away_while_it_is_checked_stays_away(context: JobContext, paystack: ScriptedPaystack) -> None:
    method = add(context.database)
    held = Held()
    paystack.next(held)
    with ThreadPoolExecutor() as threads:
        checking = threads.submit(check, context)
        assert held.arrived.wait(10)
        with context.database.transaction() as tx:
            methods.lock_user(tx, "user-1")
            methods.deactivate_method(tx, method.id, user_id="user-1")
        held.release.set()
        checking.result()
    assert method_now(context.database, method.id).status is S.INACTIVE


def test_a_check_that_dies_is_made_again(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = add(context.database)
    with dying(monkeypatch):
        check(context)
    check(context)
    assert len(paystack.calls) == 1, "the lease still holds"
    pass_time(context.database, LEASE_SECONDS + 1)
    check(context)
    assert method_now(context.database, method.id).status is S.ACTIVE


def test_the_same_message_twice_asks_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    add(context.database)
    ids = job_ids(context.database, "check_payment_method")
    check_methods(context, ids)
    check_methods(context, ids)
    assert len(paystack.calls) == 1


def test_a_job_without_its_method_or_its_key_harms_no_other(context: JobContext, paystack: ScriptedPaystack) -> None:
    gone, sealed, good = add(context.database), add(context.database), add(context.database)
    rows(context.database, "DELETE FROM payment_methods WHERE id = %s", gone.id)
    rows(context.database, "UPDATE payment_methods SET email_sealed = 'nonsense' WHERE id = %s", sealed.id)
    check(context)
    states = dict(rows(context.database, "SELECT id, state::text FROM jobs"))
    assert states == {gone.id: "dead", sealed.id: "ready"}
    assert method_now(context.database, good.id).status is S.ACTIVE


def test_a_customer_paystack_shows_oddly_is_read_as_far_as_it_goes(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    odd = {"authorizations": [None, "AUTH_x", {"authorization_code": None}, {**CARD, "exp_year": "9999"}], "email": 7}
    paystack.next(says(200, {"status": True, "data": odd}))
    method = add(context.database)
    check(context)
    after = method_now(context.database, method.id)
    assert (after.status, after.card_exp_year) == (S.ACTIVE, None)


# Taking a method away.


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    class CrashError(BaseException):
        """The process dies here."""

    def die(*_: object, **__: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch, pytest.raises(CrashError):
        patch.setattr(use_case, "settle_together", die)
        yield


def take_away(database: Database) -> PaymentMethod:
    method = save_method(database)
    payload = {"payment_method_id": str(method.id)}
    with database.transaction() as tx:
        methods.deactivate_method(tx, method.id, user_id="user-1")
        enqueue_jobs(tx, [NewJob(kind=JobKind.DEACTIVATE_PAYMENT_METHOD, payload=payload, correlation_id="req_test")])
    return method


def tell(context: JobContext) -> None:
    deactivate_methods(context, job_ids(context.database, "deactivate_payment_method"))


def test_paystack_is_told_to_charge_a_method_no_more(context: JobContext, paystack: ScriptedPaystack) -> None:
    method = take_away(context.database)
    tell(context)
    assert [(call.path, call.body) for call in paystack.calls] == [
        ("/customer/authorization/deactivate", {"authorization_code": AUTHORIZATION_CODE})
    ]
    assert paystack.authorizations[EMAIL] == []
    assert job_ids(context.database, "deactivate_payment_method") == []
    assert method_now(context.database, method.id).status is S.INACTIVE


@pytest.mark.parametrize(
    ("message", "status"),
    [("Authorization code not found.", 404), ("Authorization is already inactive", 400)],
)
def test_a_code_that_is_gone_already_is_what_was_wanted(
    context: JobContext, paystack: ScriptedPaystack, message: str, status: int
) -> None:
    take_away(context.database)
    paystack.next(refuses(message, status=status))
    tell(context)
    assert job_ids(context.database, "deactivate_payment_method") == []


def test_paystack_is_told_again_until_it_has_heard(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(context.database)
    paystack.next(resets, refuses("Not now", status=403))
    for _ in range(2):
        tell(context)
        assert len(job_ids(context.database, "deactivate_payment_method")) == 1
        pass_time(context.database, 100)
    with dying(monkeypatch):
        tell(context)
    assert paystack.authorizations[EMAIL] == []
    pass_time(context.database, LEASE_SECONDS + 1)
    tell(context)
    assert job_ids(context.database, "deactivate_payment_method") == []
