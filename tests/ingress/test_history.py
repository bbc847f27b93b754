"""A user's payments page by page, and the timeline of one payment with its next step."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import history
from db.connection import Database
from domain.errors import ErrorCode
from domain.ids import Prefix, parse, show
from domain.instants import instant
from domain.money import Currency
from domain.payment import Charged, ChargeFailed, Fact, InProgress, Instrument, NotPaid, Payment, Source
from jobs.applying import Learned, apply_facts
from jobs.context import JobContext
from jobs.janitor import look_once
from jobs.verify import verify_payments
from tests.ingress.conftest import MakeApp, bearer, token
from tests.ingress.test_input import in_envelope, refused
from tests.stories import accept, job_ids, pass_time, rows, settings_for

BAD = ErrorCode.INVALID_REQUEST


def ask(client: FlaskClient, user: str = "user-1", **query: Any) -> Any:
    return client.get(f"/payments/user/{user}", query_string=query, headers=bearer())


def page(client: FlaskClient, user: str = "user-1", **query: Any) -> dict[str, Any]:
    answer = ask(client, user, **query)
    assert answer.status_code == 200, answer.text
    return in_envelope(answer)["data"]


def ids(data: dict[str, Any]) -> list[str]:
    return [payment["paymentId"] for payment in data["payments"]]


def learn(context: JobContext, payment: Payment, fact: Fact) -> None:
    with context.database.transaction() as tx:
        apply_facts(context, tx, [Learned(payment.id, fact, Source.WEBHOOK, "req_worker")])


def decline(context: JobContext, payment: Payment) -> None:
    learn(context, payment, ChargeFailed(reference=payment.reference, reason="Declined", transaction_id=None))


def all_pages(client: FlaskClient, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
    """Follow the cursors to the end."""
    found = page(client, limit=limit, **query)
    yield found
    while cursor := found["pagination"]["nextCursor"]:
        found = page(client, limit=limit, cursor=cursor, **query)
        yield found


def newest_first(database: Database, count: int) -> list[str]:
    """Payments by their ids, newest first; those of one millisecond stand in any order."""
    return sorted((show(Prefix.PAYMENT, accept(database).id) for _ in range(count)), reverse=True)


def test_payments_come_newest_first_with_their_count(client: FlaskClient, database: Database) -> None:
    made = newest_first(database, 3)
    accept(database, user_id="user-2")
    data = page(client)
    assert ids(data) == made
    assert (data["totalCount"], data["totalIsExact"], data["hasMore"]) == (3, True, False)
    assert data["pagination"] == {"limit": 20, "offset": 0, "nextCursor": None}


def test_a_user_without_payments_has_an_empty_page(client: FlaskClient, database: Database) -> None:
    data = page(client)
    assert (data["payments"], data["totalCount"], data["hasMore"]) == ([], 0, False)


def test_offsets_and_cursors_lead_through_the_same_payments(client: FlaskClient, database: Database) -> None:
    made = newest_first(database, 7)
    pages = list(all_pages(client, 3))
    assert [one for found in pages for one in ids(found)] == made
    assert [found["hasMore"] for found in pages] == [True, True, False]
    assert [found["totalCount"] for found in pages] == [7, None, None]
    assert [one for offset in (0, 3, 6) for one in ids(page(client, limit=3, offset=offset))] == made


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 5), arriving=st.lists(st.integers(0, 3), max_size=4))
def test_whoever_follows_cursors_sees_each_payment_once_while_others_arrive(
    client: FlaskClient, database: Database, limit: int, arriving: list[int]
) -> None:
    rows(database, "DELETE FROM payments")
    made = newest_first(database, 6)
    seen: list[str] = []
    more = iter(arriving)
    for found in all_pages(client, limit):
        seen += ids(found)
        for _ in range(next(more, 0)):
            accept(database)
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in made] == made


def test_filters_narrow_page_and_count(client: FlaskClient, context: JobContext, database: Database) -> None:
    naira, cedis, declined = accept(database), accept(database, currency=Currency.GHS), accept(database)
    decline(context, declined)
    for query, wanted in (
        ({"currency": "GHS"}, [cedis]),
        ({"status": "failed"}, [declined]),
        ({"status": "PENDING"}, sorted([cedis, naira], key=lambda payment: payment.id, reverse=True)),
        ({"status": "pending", "currency": "NGN"}, [naira]),
    ):
        data = page(client, **query)
        assert ids(data) == [show(Prefix.PAYMENT, payment.id) for payment in wanted]
        assert data["totalCount"] == len(wanted)


def test_dates_are_half_open_and_in_any_zone(client: FlaskClient, database: Database) -> None:
    first = accept(database)
    rows(database, "UPDATE test_clock SET clock_offset = interval '40 days'")
    with database.connection() as connection:
        connection.execute("SELECT payfleet_ensure_partitions(payfleet_now(), 1)")
    second = accept(database)
    middle = rows(database, "SELECT payfleet_now() - interval '20 days'")[0][0]
    assert ids(page(client, **{"from": middle.isoformat()})) == [show(Prefix.PAYMENT, second.id)]
    assert ids(page(client, to=middle.isoformat())) == [show(Prefix.PAYMENT, first.id)]
    assert ids(page(client, **{"from": middle.date().isoformat()})) == [show(Prefix.PAYMENT, second.id)]
    at = second.created_at.replace(microsecond=second.created_at.microsecond // 1000 * 1000).isoformat()
    assert ids(page(client, **{"from": at})) == [show(Prefix.PAYMENT, second.id)], "from is inclusive"
    assert ids(page(client, to=at)) == [show(Prefix.PAYMENT, first.id)], "to is not"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10_001}, "offset"),
        ({"from": "yesterday"}, "from"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"status": "paid"}, "status"),
        ({"currency": "EUR"}, "currency"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": f"rfd_{'0' * 26}"}, "cursor"),
        ({"cursor": ["x", "y"]}, "cursor"),
        ({"page": 2}, "page"),
        ({"limit": [1, 2]}, "limit"),
        ({"cursor": f"pay_{'0' * 26}", "offset": 1}, "offset"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(client: FlaskClient, query: dict[str, Any], field: str) -> None:
    assert refused(ask(client, **query), ErrorCode(ask(client, **query).get_json()["error"]["code"]), field)
    assert ask(client, **query).status_code == 400


def test_a_customer_sees_its_own_history_only(client: FlaskClient) -> None:
    refused(ask(client, "user-2"), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
    support = bearer(token("agent", ["support"]))
    assert client.get("/payments/user/user-2", headers=support).status_code == 200


def test_beyond_ten_thousand_the_count_says_that_it_is_not_exact(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "COUNTED_MAX", 3)
    for _ in range(3):
        accept(database)
    assert (page(client)["totalCount"], page(client)["totalIsExact"]) == (3, True)
    accept(database)
    assert (page(client)["totalCount"], page(client)["totalIsExact"]) == (3, False)


@pytest.fixture
def cached_app(make_app: MakeApp, migrated_url: str, redis_url: str, database: Database) -> Flask:
    return make_app(settings_for(migrated_url, redis_url=redis_url))


def test_a_cached_page_is_served_until_the_user_pays_again(cached_app: Flask, database: Database) -> None:
    client = cached_app.test_client()
    before = in_envelope(history_of_cached(client))["data"]
    accept(database, user_id="cached-user")  # by a process without a cache: nobody hears of it
    assert in_envelope(history_of_cached(client))["data"] == before
    body = {
        "userId": "cached-user",
        "orderId": "o-2",
        "amount": 50_000,
        "email": "ada@example.com",
    }
    headers = bearer(token("shop", ["service"]))
    assert client.post("/payments", json=body, headers=headers).status_code == 202
    assert in_envelope(history_of_cached(client))["data"]["totalCount"] == 2


def history_of_cached(client: FlaskClient) -> Any:
    return client.get("/payments/user/cached-user", headers=bearer(token("shop", ["service"])))


# The timeline.


def timeline(client: FlaskClient, payment_id: UUID) -> dict[str, Any]:
    answer = client.get(f"/payments/{show(Prefix.PAYMENT, payment_id)}/history", headers=bearer())
    return in_envelope(answer)["data"]


def steps(client: FlaskClient, payment: Payment) -> list[tuple[str, str]]:
    return [(step["step"], step["at"]) for step in timeline(client, payment.id)["next"]]


def test_the_timeline_tells_each_fact_with_its_source_and_the_next_step(
    client: FlaskClient, context: JobContext, database: Database
) -> None:
    payment = accept(database)
    told = timeline(client, payment.id)
    assert [(line["fact"], line["source"]) for line in told["history"]] == [("payment.accepted", "client")]
    (step,) = told["next"]
    assert (step["step"], step["attempts"], step["lastError"]) == ("initialize_payment", 0, None)
    assert step["at"].endswith("Z")
    decline(context, payment)
    rows(database, "DELETE FROM jobs")
    told = timeline(client, payment.id)
    assert [line["fact"] for line in told["history"]] == ["payment.accepted", "payment.failed"]
    assert told["history"][1]["details"]["message"] == "Declined"
    assert told["history"][1]["correlationId"] == "req_worker"
    assert (told["status"], told["next"]) == ("failed", [])


def test_a_payment_that_waits_for_its_customer_says_until_when_and_when_it_is_looked_at(
    client: FlaskClient, context: JobContext, database: Database
) -> None:
    payment = accept(database)
    rows(database, "DELETE FROM jobs")
    shown = in_envelope(client.get(f"/payments/{show(Prefix.PAYMENT, payment.id)}", headers=bearer()))["data"]
    assert steps(client, payment) == [
        ("verify_payment", instant(payment.created_at + timedelta(minutes=4))),
        ("wait_for_customer", shown["expiresAt"]),
    ]
    pass_time(database, minutes=50)
    look_once(database, limit=1)
    assert [step for step, _ in steps(client, payment)] == ["verify_payment"], "which is made now"
    verify_payments(context, job_ids(database, "verify_payment"))
    assert steps(client, payment) == [("verify_payment", shown["expiresAt"]), ("wait_for_customer", shown["expiresAt"])]
    learn(context, payment, InProgress(payment.reference))
    pass_time(database, minutes=10)
    look_once(database, limit=1)
    rows(database, "DELETE FROM jobs")
    ((step, at),) = steps(client, payment)
    assert step == "verify_payment"
    assert at > shown["expiresAt"], "the customer is not waited for any more"


def test_a_job_that_failed_tells_its_tries_and_a_dead_one_waits_for_a_person_or_for_the_next_look(
    client: FlaskClient, database: Database
) -> None:
    payment = accept(database)
    rows(database, "UPDATE jobs SET failures = 3, last_error = 'initialize: HTTP 502'")
    (step,) = timeline(client, payment.id)["next"]
    assert (step["step"], step["attempts"], step["lastError"]) == ("initialize_payment", 3, "initialize: HTTP 502")
    rows(database, "UPDATE jobs SET state = 'dead'")
    step, look = timeline(client, payment.id)["next"]
    assert (step["step"], step["at"], step["attempts"]) == ("wait_for_operator", None, 3)
    assert (look["step"], look["attempts"]) == ("verify_payment", 0)


def test_a_verification_that_was_asked_for_is_a_next_step(
    client: FlaskClient, context: JobContext, database: Database
) -> None:
    payment = accept(database)
    learn(context, payment, NotPaid(payment.reference, expired=True))
    rows(database, "DELETE FROM jobs")
    assert client.get(f"/payments/verify?reference={payment.reference}", headers=bearer()).status_code == 202
    assert [step["step"] for step in timeline(client, payment.id)["next"]] == ["verify_payment"]


def test_somebody_elses_timeline_is_like_none_at_all(client: FlaskClient, database: Database) -> None:
    payment = accept(database, user_id="user-2")
    for text in (show(Prefix.PAYMENT, payment.id), "x"):
        answer = client.get(f"/payments/{text}/history", headers=bearer())
        refused(answer, ErrorCode.PAYMENT_NOT_FOUND, "paymentId")


# ETag.


def test_a_client_that_holds_the_newest_version_is_not_sent_it_again(
    client: FlaskClient, context: JobContext, database: Database
) -> None:
    payment = accept(database)
    path = f"/payments/{show(Prefix.PAYMENT, payment.id)}"
    first = client.get(path, headers=bearer())
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for held in (tag, f'W/"other", {tag}', "*"):
        again = client.get(path, headers=bearer(**{"If-None-Match": held}))
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == tag
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 401, "nobody learns it without a token"
    learn(
        context,
        payment,
        Charged(
            reference=payment.reference,
            asked=payment.money.amount,
            received=payment.money.amount,
            currency="NGN",
            transaction_id=1,
            paid_at=None,
            instrument=Instrument(),
            response={},
        ),
    )
    changed = client.get(path, headers=bearer(**{"If-None-Match": tag}))
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert parse(Prefix.PAYMENT, changed.get_json()["data"]["paymentId"]) == payment.id
