"""`/payments/verify` over HTTP, with a worker that asks the sandbox: every answer a client can get."""

import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db.connection import Database
from domain.errors import ErrorCode
from domain.ids import Prefix, reference_of, show
from domain.payment import Payment
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.paystack import transport
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.ingress.conftest import bearer, context_at, pay, token, working
from tests.ingress.test_input import in_envelope, refused
from tests.patience import eventually
from tests.stories import SECRET_KEY, accept, job_ids, payment_now, rows

WAIT = {"Prefer": "wait=20"}


@pytest.fixture
def worker(context: JobContext) -> Generator[None]:
    with working(context):
        yield


@pytest.fixture
def payment(context: JobContext) -> Payment:
    """A payment of user-1 whose customer has a page to pay on."""
    accepted = accept(context.database)
    initialize_payments(context, job_ids(context.database))
    return payment_now(context.database, accepted.id)


def verify(client: FlaskClient, reference: str, **headers: str) -> Any:
    return client.get("/payments/verify", query_string={"reference": reference}, headers=bearer(**headers))


def verify_by_post(client: FlaskClient, reference: str, **headers: str) -> Any:
    return client.post("/payments/verify", json={"reference": reference}, headers=bearer(**headers))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("ask", [verify, verify_by_post])
def test_a_client_that_waits_learns_that_the_customer_has_paid(
    client: FlaskClient, sandbox: RunningSandbox, payment: Payment, ask: Any
) -> None:
    pay(sandbox, payment)
    answer = ask(client, payment.reference, **WAIT)
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=20"
    data = in_envelope(answer)["data"]
    expected = {
        "paymentId": show(Prefix.PAYMENT, payment.id),
        "status": "success",
        "amount": 50_000,
        "currency": "NGN",
        "channel": "card",
        "cardType": "visa",
        "cardLast4": "4081",
        "gatewayStatus": "success",
        "verificationError": None,
    }
    assert {name: data[name] for name in expected} == expected
    assert data["paidAt"]
    assert data["verifiedAt"]
    assert isinstance(data["paystackTransactionId"], int)


@pytest.mark.usefixtures("worker")
def test_not_paid_yet_is_an_answer_too(client: FlaskClient, payment: Payment) -> None:
    answer = verify(client, payment.reference, **WAIT)
    assert answer.status_code == 200
    data = in_envelope(answer)["data"]
    assert (data["status"], data["gatewayStatus"], data["paidAt"]) == ("pending", "abandoned", None)


@pytest.mark.usefixtures("worker")
def test_a_declined_payment_is_asked_about_again_and_found_paid(
    client: FlaskClient, database: Database, sandbox: RunningSandbox, payment: Payment
) -> None:
    rows(database, "UPDATE payments SET status = 'FAILED', failure_code = 'PAYMENT_DECLINED' WHERE id = %s", payment.id)
    pay(sandbox, payment)
    data = in_envelope(verify(client, payment.reference, **WAIT))["data"]
    assert (data["status"], data["failure"]) == ("success", None)


def test_without_waiting_the_answer_is_202_and_the_question_is_under_way(
    client: FlaskClient, database: Database, payment: Payment
) -> None:
    answer = verify(client, payment.reference)
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Location"] == f"/payments/{show(Prefix.PAYMENT, payment.id)}"
    data = in_envelope(answer)["data"]
    assert (data["status"], data["verifiedAt"]) == ("pending", None)
    assert verify_by_post(client, payment.reference).status_code == 202
    assert len(job_ids(database, "verify_payment")) == 1, "asked twice, looked once"
    assert rows(database, "SELECT payload FROM jobs WHERE kind = 'verify_payment'") == [
        ({"payment_id": str(payment.id)},)
    ]


def test_who_only_polls_gets_a_look_of_the_last_half_minute_and_who_waits_a_new_one(
    client: FlaskClient, database: Database, payment: Payment
) -> None:
    rows(database, "UPDATE payments SET verified_at = payfleet_now(), gateway_status = 'abandoned'")
    polled = verify(client, payment.reference)
    assert polled.status_code == 200
    assert in_envelope(polled)["data"]["gatewayStatus"] == "abandoned"
    assert job_ids(database, "verify_payment") == [], "nobody was asked"
    assert verify(client, payment.reference, Prefer="wait=1").status_code == 202, "nobody works here"
    assert len(job_ids(database, "verify_payment")) == 1
    for made_old in (
        "UPDATE payments SET verified_at = payfleet_now() - interval '31 seconds'",
        "UPDATE payments SET verified_at = payfleet_now(), verification_error = 'GATEWAY_ERROR'",
    ):
        rows(database, made_old)
        assert verify(client, payment.reference).status_code == 202


def test_a_client_that_waits_in_vain_gets_the_202(client: FlaskClient, payment: Payment) -> None:
    answer = verify(client, payment.reference, Prefer="wait=1")
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "1"


def test_a_settled_payment_is_answered_at_once_and_paystack_is_not_asked(
    client: FlaskClient, database: Database, sandbox: RunningSandbox, context: JobContext, payment: Payment
) -> None:
    pay(sandbox, payment)
    with working(context):
        verify(client, payment.reference, **WAIT)
    answer = verify(client, payment.reference)
    assert answer.status_code == 200
    assert in_envelope(answer)["data"]["status"] == "success"
    assert job_ids(database, "verify_payment") == []


def test_before_paystack_has_it_a_payment_is_simply_pending(client: FlaskClient, database: Database) -> None:
    payment = accept(database)
    answer = verify(client, payment.reference, **WAIT)
    assert answer.status_code == 200
    assert in_envelope(answer)["data"]["status"] == "pending"
    assert job_ids(database, "verify_payment") == []


def test_a_charge_of_a_saved_method_is_asked_about_though_it_has_no_page(
    client: FlaskClient, database: Database
) -> None:
    payment = accept(database, payment_method_id=UUID(int=1))
    assert verify(client, payment.reference).status_code == 202
    assert len(job_ids(database, "verify_payment")) == 1


def test_a_look_that_began_before_the_request_does_not_answer_it(
    client: FlaskClient, database: Database, payment: Payment
) -> None:
    rows(database, "UPDATE payments SET verified_at = payfleet_now(), gateway_status = 'abandoned'")
    assert verify(client, payment.reference, Prefer="wait=1").status_code == 202


FAULTS: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "reset": ({"kind": "reset"}, ErrorCode.GATEWAY_ERROR),
    "garbage": ({"kind": "garbage"}, ErrorCode.GATEWAY_ERROR),
    "5xx": ({"kind": "error", "status": 503}, ErrorCode.GATEWAY_ERROR),
    "a proxy's page": ({"kind": "error", "status": 502, "body": "html"}, ErrorCode.GATEWAY_ERROR),
    "refusal": ({"kind": "error", "status": 403}, ErrorCode.PAYSTACK_API_ERROR),
    "silence": ({"kind": "latency", "latency_ms": 5000}, ErrorCode.PAYSTACK_TIMEOUT),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_a_client_that_waits_is_told_what_went_wrong_and_the_next_look_mends_it(
    client: FlaskClient,
    sandbox: RunningSandbox,
    context: JobContext,
    payment: Payment,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    code: ErrorCode,
) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT_SECONDS", 0.5)
    sandbox.control("faults", {"endpoint": "verify", "times": 1, **fault})
    pay(sandbox, payment)
    with working(context):
        error = refused(verify(client, payment.reference, **WAIT), code)
        assert error["details"] == "Payfleet goes on asking by itself. The payment stands as it was."
        assert in_envelope(verify(client, payment.reference, **WAIT))["data"]["status"] == "success"


def test_a_transaction_that_paystack_has_lost_is_not_found(
    client: FlaskClient, database: Database, payment: Payment
) -> None:
    with running_sandbox(Options(secret_key=SECRET_KEY)) as forgetful, working(context_at(database, forgetful.url)):
        refused(verify(client, payment.reference, **WAIT), ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND)
    assert rows(database, "SELECT failures FROM jobs WHERE kind = 'verify_payment'") == [(1,)], "and asked about again"


def test_where_nobody_listens_the_gateway_is_in_error(
    client: FlaskClient, database: Database, payment: Payment, no_listener: str
) -> None:
    with working(context_at(database, no_listener)):
        refused(verify(client, payment.reference, **WAIT), ErrorCode.GATEWAY_ERROR)


def test_a_connection_that_is_never_accepted_is_a_gateway_timeout(
    client: FlaskClient, database: Database, payment: Payment, full_listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_SECONDS", 0.3)
    with working(context_at(database, full_listener)):
        refused(verify(client, payment.reference, **WAIT), ErrorCode.GATEWAY_TIMEOUT)


@pytest.fixture
def no_listener() -> Generator[str]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def full_listener() -> Generator[str]:
    """A port whose queue is full: the kernel drops who comes next."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("text", ["", "x", "pf-", "pf-" + "0" * 25, "pf-" + "0" * 26 + ".1", "T123", "pay_" + "0" * 26])
@pytest.mark.parametrize("ask", [verify, verify_by_post])
def test_what_is_no_reference_of_ours_is_refused(client: FlaskClient, text: str, ask: Any) -> None:
    refused(ask(client, text), ErrorCode.PAYSTACK_INVALID_REFERENCE, "reference")


@pytest.mark.parametrize(
    "query",
    [{}, {"reference": ["pf-1", "pf-2"]}, {"reference": "x" * 256}, {"reference": "pf-1", "ref": "x"}],
    ids=str,
)
def test_a_query_that_is_none_names_the_field(client: FlaskClient, query: dict[str, Any]) -> None:
    answer = client.get("/payments/verify", query_string=query, headers=bearer())
    refused(answer, ErrorCode.INVALID_REQUEST, "ref" if "ref" in query else "reference")


def test_a_reference_that_no_payment_has_is_not_found(client: FlaskClient, database: Database) -> None:
    payment = accept(database)
    for reference in (reference_of(UUID(int=1), 1), reference_of(payment.id, 2)):
        refused(verify(client, reference), ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND, "reference")


def test_somebody_elses_payment_is_not_found_and_not_asked_about(
    client: FlaskClient, database: Database, payment: Payment
) -> None:
    query = {"reference": payment.reference}
    other = client.get("/payments/verify", query_string=query, headers=bearer(token("user-2")))
    refused(other, ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND, "reference")
    refused(client.get("/payments/verify", query_string=query), ErrorCode.UNAUTHORIZED, "Authorization")
    assert job_ids(database, "verify_payment") == []
    support = client.get("/payments/verify", query_string=query, headers=bearer(token("sue", ["support"])))
    assert support.status_code == 202


def test_many_clients_at_once_share_one_look(
    session_app: Flask, database: Database, sandbox: RunningSandbox, context: JobContext, payment: Payment
) -> None:
    pay(sandbox, payment)
    with ThreadPoolExecutor(6) as threads:
        waiting = [threads.submit(verify, session_app.test_client(), payment.reference, **WAIT) for _ in range(6)]
        eventually(lambda: job_ids(database, "verify_payment"))
        with working(context):
            answers = [future.result() for future in waiting]
    assert {(answer.status_code, in_envelope(answer)["data"]["status"]) for answer in answers} == {(200, "success")}
