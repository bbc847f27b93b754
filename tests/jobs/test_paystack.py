"""What a call to Paystack comes to, over real sockets: done, refused, unknown, not sent or throttled."""

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import ErrorCode
from domain.money import Currency, Money
from jobs.paystack import transport
from jobs.paystack.answers import Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.client import InitializeRequest, Paystack, is_duplicate_reference
from jobs.paystack.transport import Transport
from tests.jobs.scripted_paystack import Exchange, Held, ScriptedPaystack, Step, refuses, resets, says
from tests.stories import SECRET_KEY

REQUEST = InitializeRequest(
    reference="pf-00000000000000000000000001",
    email="ada@example.com",
    money=Money(50_000, Currency.NGN),
    channels=["card", "ussd"],
    callback_url="https://shop.example/thanks",
    metadata={"cart": 7},
)
OPENED = {
    "authorization_url": "https://checkout.example/1",
    "access_code": "ac_1",
    "reference": REQUEST.reference,
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAID = {"id": 1, "status": "success", "reference": "r", "amount": 1, "currency": "NGN"}


@pytest.fixture
def client(paystack: ScriptedPaystack) -> Paystack:
    return Paystack(Transport(paystack.url, SECRET_KEY))


def ok(data: object) -> dict[str, object]:
    return {"status": True, "message": "fine", "data": data}


def test_initialize_sends_what_paystack_wants(client: Paystack, paystack: ScriptedPaystack) -> None:
    answer = client.initialize(REQUEST)
    assert isinstance(answer, Done)
    assert answer.data.access_code == f"ac_{REQUEST.reference}"
    (call,) = paystack.calls
    assert (call.method, call.path) == ("POST", "/transaction/initialize")
    assert call.headers["authorization"] == f"Bearer {SECRET_KEY}"
    assert call.headers["content-type"] == "application/json"
    assert call.body == {
        "email": "ada@example.com",
        "amount": 50_000,
        "currency": "NGN",
        "reference": REQUEST.reference,
        "metadata": '{"cart":7}',
        "channels": ["card", "ussd"],
        "callback_url": "https://shop.example/thanks",
    }


def test_a_reference_is_quoted_in_the_path(client: Paystack, paystack: ScriptedPaystack) -> None:
    client.verify("a/../b?c=1")
    assert paystack.calls[0].path == "/transaction/verify/a%2F..%2Fb%3Fc%3D1"


def drips(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Content-Length", "100000")
    exchange.end_headers()
    try:
        for _ in range(100_000):
            exchange.wfile.write(b" ")
            exchange.wfile.flush()
            Held().release.wait(0.005)
    except OSError:
        exchange.close_connection = True


def breaks_off(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Content-Length", "5000")
    exchange.end_headers()
    exchange.wfile.write(json.dumps(ok(OPENED)).encode())
    exchange.wfile.flush()
    exchange.connection.shutdown(socket.SHUT_RDWR)
    exchange.close_connection = True


UNKNOWN: dict[str, Step] = {
    "ok without data": says(200, {"status": True, "message": "fine"}),
    "ok with data of another shape": says(200, ok([OPENED])),
    "ok that lacks the url": says(200, ok({"access_code": "x", "reference": REQUEST.reference})),
    "ok with an empty url": says(200, ok({**OPENED, "authorization_url": ""})),
    "ok with an access code too long": says(200, ok({**OPENED, "access_code": "x" * 256})),
    "ok that says false": says(200, {"status": False, "message": "hm", "data": OPENED}),
    "ok that says 'true'": says(200, {"status": "true", "data": OPENED}),
    "garbage": says(200, b"\x00\xff garbage"),
    "an empty answer": says(200, b""),
    "deep nesting": says(200, b"[" * 100_000),
    "a list": says(200, [1, 2]),
    "a page of a proxy": says(502, b"<html>Bad Gateway</html>"),
    "an empty 500": says(500, b""),
    "a 500 in their envelope": says(500, {"status": False, "message": "Internal error"}),
    "a 504 in their envelope": says(504, {"status": False, "message": "Time-out"}),
    "a 400 of a proxy": says(400, b"<html>Bad Request</html>"),
    "a 400 without a message": says(400, {"error": "no"}),
    "a redirect": says(302, b"", Location="https://elsewhere.example/"),
    "a reset": resets,
    "an answer that breaks off": breaks_off,
    "an answer larger than any": says(200, b" " * (2 * 1024 * 1024 + 1)),
}


@pytest.mark.parametrize("step", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_without_a_usable_answer_the_outcome_is_unknown(
    client: Paystack, paystack: ScriptedPaystack, step: Step
) -> None:
    paystack.next(step)
    assert isinstance(client.initialize(REQUEST), Unknown)
    assert isinstance(client.initialize(REQUEST), Done), "and the next call is not disturbed"


def test_no_answer_in_time_is_unknown(
    client: Paystack, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT_SECONDS", 0.2)
    held = Held()
    paystack.next(held)
    assert client.initialize(REQUEST) == Unknown("no answer in time", ErrorCode.PAYSTACK_TIMEOUT)
    held.release.set()


def test_an_answer_that_drips_is_given_up(
    client: Paystack, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "EXCHANGE_SECONDS_MAX", 0.2)
    paystack.next(drips)
    assert client.initialize(REQUEST) == Unknown("the answer took too long", ErrorCode.PAYSTACK_TIMEOUT)


def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = Paystack(Transport(f"http://127.0.0.1:{port}", SECRET_KEY))
        assert isinstance(client.initialize(REQUEST), NotSent)


def test_a_name_that_leads_nowhere_is_not_sent() -> None:
    client = Paystack(Transport("http://paystack.invalid", SECRET_KEY))
    assert isinstance(client.initialize(REQUEST), NotSent)


def test_a_refused_key_is_not_sent_and_not_shown(client: Paystack, paystack: ScriptedPaystack) -> None:
    paystack.next(refuses(f"Invalid key {SECRET_KEY}", "invalid_Key", 401))
    answer = client.initialize(REQUEST)
    assert isinstance(answer, NotSent)
    assert SECRET_KEY not in answer.reason


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_their_refusal_is_one(client: Paystack, paystack: ScriptedPaystack, status: int) -> None:
    paystack.next(refuses("Invalid Email Address Passed", "invalid_params", status))
    answer = client.initialize(REQUEST)
    assert answer == Refused(status, "Invalid Email Address Passed", "invalid_params")
    assert isinstance(answer, Refused)
    assert not is_duplicate_reference(answer)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Duplicate Transaction Reference", None),
        ("duplicate transaction reference.", "x"),
        ("", "duplicate_reference"),
    ],
)
def test_a_duplicate_reference_is_recognized(
    client: Paystack, paystack: ScriptedPaystack, message: str, code: str | None
) -> None:
    paystack.next(refuses(message, code))
    answer = client.initialize(REQUEST)
    assert isinstance(answer, Refused)
    assert is_duplicate_reference(answer)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"x_ratelimit_reset": "31"}, 31),
        ({"retry_after": "7", "x_ratelimit_reset": "31"}, 7),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "x_ratelimit_reset": "31"}, 31),
        ({"retry_after": "-1"}, 10),
        ({"retry_after": "nan"}, 10),
        ({"retry_after": "1e999"}, 10),
        ({"x_ratelimit_reset": "1795420000"}, 10),
        ({}, 10),
    ],
)
def test_a_spent_quota_says_when_to_come_back(
    client: Paystack, paystack: ScriptedPaystack, headers: dict[str, str], seconds: float
) -> None:
    paystack.next(says(429, b"slow down", **headers))
    assert client.initialize(REQUEST) == NotNow(seconds, "Paystack's rate limit is reached")


@pytest.mark.parametrize(
    "step",
    [
        refuses("Transaction reference not found.", "transaction_not_found"),
        refuses("Transaction not found", None, 404),
    ],
)
def test_verify_of_what_they_do_not_know_is_none(client: Paystack, paystack: ScriptedPaystack, step: Step) -> None:
    paystack.next(step)
    assert client.verify("r") == Done(None)


def test_another_refusal_of_verify_is_not_taken_for_not_found(client: Paystack, paystack: ScriptedPaystack) -> None:
    paystack.next(refuses("Your account is suspended", None, 403))
    assert isinstance(client.verify("r"), Refused)


# The shape of what is not needed must not keep the news of a payment from us.
@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"paid_at": None},
        {"paid_at": ""},
        {"paid_at": "soon"},
        {"paid_at": "2026-03-01 12:00:00"},
        {"domain": None},
        {"domain": 1},
        {"authorization": None},
        {"authorization": ""},
        {"authorization": "none"},
        {"authorization": []},
        {"authorization": {"last4": 4081, "exp_month": "", "exp_year": "9999", "brand": None}},
        {"channel": 5, "message": {"a": 1}, "gateway_response": ["x"]},
        {"requested_amount": None},
        {"requested_amount": ""},
        {"amount": "1"},
        {"customer": None, "metadata": "", "log": []},
    ],
    ids=str,
)
def test_verify_reads_a_paid_transaction_whatever_its_other_fields_hold(
    client: Paystack, paystack: ScriptedPaystack, odd: dict[str, Any]
) -> None:
    paystack.next(says(200, ok({**PAID, **odd})))
    answer = client.verify("r")
    assert isinstance(answer, Done)
    assert answer.data is not None
    assert (answer.data.transaction.id, answer.data.transaction.amount) == (1, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"id": -1},
        {"status": None},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": 2**63},
        {"currency": 1},
    ],
    ids=str,
)
def test_verify_believes_nothing_without_what_it_needs(
    client: Paystack, paystack: ScriptedPaystack, odd: dict[str, Any]
) -> None:
    paystack.next(says(200, ok({**PAID, **odd})))
    assert isinstance(client.verify("r"), Unknown)


def test_a_page_of_transactions_is_asked_for_by_its_time_and_number(
    client: Paystack, paystack: ScriptedPaystack
) -> None:
    paystack.next(says(200, ok([])))
    assert client.list_transactions(since=NOON, until=NOON + timedelta(hours=1), page=3) == Done([])
    query = "from=2026-03-01T12:00:00.000Z&to=2026-03-01T13:00:00.000Z&perPage=100&page=3"
    assert paystack.calls[-1].path == f"/transaction?{query}"
    paystack.next(says(200, ok([])))
    assert client.list_refunds_made(since=NOON, until=NOON + timedelta(hours=1), page=3) == Done([])
    assert paystack.calls[-1].path == f"/refund?{query}"


def test_rows_of_others_may_be_as_odd_as_they_like_among_transactions(
    client: Paystack, paystack: ScriptedPaystack
) -> None:
    paystack.next(says(200, ok([PAID, {**PAID, "id": None}, {"reference": 7}, None, "row"])))
    answer = client.list_transactions(since=NOON, until=NOON, page=1)
    assert isinstance(answer, Done)
    assert [(row.reference, row.transaction is None) for row in answer.data] == [
        ("r", False),
        ("r", True),
        (None, True),
        (None, True),
        (None, True),
    ]


def test_a_page_of_refunds_with_one_that_cannot_be_read_says_nothing(
    client: Paystack, paystack: ScriptedPaystack
) -> None:
    refund = {"id": 9, "transaction": 1, "status": "processed", "amount": "100", "transaction_reference": "pf-1"}
    paystack.next(says(200, ok([refund])), says(200, ok([refund, {**refund, "id": None}])))
    answer = client.list_refunds_made(since=NOON, until=NOON, page=1)
    assert isinstance(answer, Done)
    assert [(row.refund.id, row.refund.transaction_reference) for row in answer.data] == [(9, "pf-1")]
    assert isinstance(client.list_refunds_made(since=NOON, until=NOON, page=1), Unknown)


def test_a_transaction_is_found_by_its_number(client: Paystack, paystack: ScriptedPaystack) -> None:
    paystack.next(says(200, ok(PAID)), refuses("Transaction not found", None, 404))
    answer = client.fetch_transaction(1)
    assert isinstance(answer, Done)
    assert answer.data is not None
    assert answer.data.transaction.reference == "r"
    assert client.fetch_transaction(2) == Done(None)
    assert [call.path for call in paystack.calls] == ["/transaction/1", "/transaction/2"]
