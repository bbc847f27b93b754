"""`/payments/callback`: the customer comes back, Paystack is asked, and nothing the browser brings is believed."""

import base64
import hashlib
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from db.connection import Database
from domain.ids import Prefix, reference_of, show
from domain.payment import Payment, PaymentStatus
from ingress import callback
from ingress.callback_page import _MESSAGE_OF
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from sandbox.harness import RunningSandbox
from tests.ingress.conftest import MakeApp, pay, working
from tests.stories import accept, job_ids, payment_now, rows, settings_for


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker runs, waiting for it shows nothing."""
    monkeypatch.setattr(callback, "_WAIT_SECONDS", 0.2)


def opened(context: JobContext, **changes: Any) -> Payment:
    accepted = accept(context.database, **changes)
    initialize_payments(context, job_ids(context.database))
    return payment_now(context.database, accepted.id)


def come_back(client: FlaskClient, reference: str, **more: str) -> TestResponse:
    return client.get("/payments/callback", query_string={"trxref": reference, "reference": reference, **more})


def page(answer: TestResponse, status: int = 200) -> str:
    """The page, after a look at what every page must be."""
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    html = answer.get_data(as_text=True)
    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert "<script" not in html
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    return html


def test_a_customer_who_paid_goes_on_to_the_shop_with_what_became_of_it(
    client: FlaskClient, context: JobContext, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "_WAIT_SECONDS", 20)
    payment = opened(context, callback_url="https://shop.example/thanks?cart=7&x=#top")
    pay(sandbox, payment)
    with working(context):
        answer = come_back(client, payment.reference)
    assert answer.status_code == 303
    assert answer.headers["Location"] == (
        f"https://shop.example/thanks?cart=7&x=&paymentId={show(Prefix.PAYMENT, payment.id)}"
        f"&reference={payment.reference}&status=success#top"
    )
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert payment_now(context.database, payment.id).status is PaymentStatus.SUCCESS, "asked, not believed"


def test_without_an_answer_in_time_the_customer_goes_on_and_the_question_stays(
    client: FlaskClient, context: JobContext
) -> None:
    payment = opened(context, callback_url="https://shop.example/thanks")
    for _ in range(3):
        answer = come_back(client, payment.reference, status="success", paid="true")
        assert answer.status_code == 303
        assert "status=pending" in answer.headers["Location"]
    assert len(job_ids(context.database, "verify_payment")) == 1


def test_a_paid_payment_is_not_asked_about_again(client: FlaskClient, database: Database) -> None:
    payment = accept(database, callback_url="https://shop.example/")
    rows(database, "UPDATE payments SET status = 'SUCCESS', paid_at = payfleet_now(), gateway_transaction_id = 1")
    assert "status=success" in come_back(client, payment.reference).headers["Location"]
    assert job_ids(database, "verify_payment") == []


def test_the_older_name_of_the_reference_does_too(client: FlaskClient, database: Database) -> None:
    payment = accept(database, callback_url="https://shop.example/")
    answer = client.get("/payments/callback", query_string={"trxref": payment.reference})
    assert answer.status_code == 303


@pytest.mark.parametrize("status", list(PaymentStatus))
def test_without_a_shop_a_page_says_what_became_of_the_payment(
    client: FlaskClient, database: Database, status: PaymentStatus
) -> None:
    payment = accept(database)
    sql = "UPDATE payments SET status = %s, paid_at = payfleet_now(), gateway_transaction_id = 1 WHERE id = %s"
    rows(database, sql, status.value, payment.id)
    html = page(come_back(client, payment.reference))
    assert f"<h1>{_MESSAGE_OF[status].title}</h1>" in html
    assert "NGN 500.00" in html
    assert payment.reference in html
    assert ("Look again" in html) is (status in {PaymentStatus.PENDING, PaymentStatus.FAILED})


def test_an_unpaid_payment_has_a_way_back_to_its_page(client: FlaskClient, context: JobContext) -> None:
    payment = opened(context)
    html = page(come_back(client, payment.reference))
    assert f'href="{payment.authorization_url}"' in html
    assert f'href="?reference={payment.reference}"' in html


def test_what_comes_from_outside_is_escaped(client: FlaskClient, database: Database) -> None:
    payment = accept(database)
    url = 'https://x.example/"><script>alert(1)</script>'
    rows(database, "UPDATE payments SET access_code = 'a', authorization_url = %s", url)
    assert "&#34;&gt;&lt;script&gt;alert" in page(come_back(client, payment.reference))


@pytest.mark.parametrize(
    "reference",
    ["", "x", "<script>alert(1)</script>", "pf-" + "0" * 26, reference_of(UUID(int=1), 2)],
)
def test_a_reference_that_nobody_has_leads_nowhere(client: FlaskClient, database: Database, reference: str) -> None:
    html = page(come_back(client, reference), 404)
    assert "We do not know this payment" in html
    assert "alert" not in html
    assert job_ids(database, "verify_payment") == []


def test_no_query_leads_to_an_address_that_is_not_the_payments_own(client: FlaskClient, database: Database) -> None:
    payment = accept(database, callback_url="https://shop.example/")
    evil = "https://evil.example/"
    more = dict.fromkeys(("callbackUrl", "callback_url", "url", "next", "redirect"), evil)
    answer = client.get(
        "/payments/callback",
        query_string={"reference": payment.reference, **more},
        headers={"Host": "evil.example", "Referer": evil, "X-Forwarded-Host": "evil.example"},
    )
    assert answer.headers["Location"].startswith("https://shop.example/?paymentId=")
    assert "evil" not in answer.headers["Location"]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//evil.example/", "http://[", "/thanks"]
)
def test_only_web_addresses_are_gone_on_to(client: FlaskClient, database: Database, address: str) -> None:
    payment = accept(database, callback_url=address)
    page(come_back(client, payment.reference))


@pytest.mark.parametrize("address", ["https://shop.example/\x01ä?q=ü", 'https://shop.example/"<>?a=[]'])
def test_an_odd_address_makes_a_header_that_can_be_sent(client: FlaskClient, database: Database, address: str) -> None:
    payment = accept(database, callback_url=address)
    location = come_back(client, payment.reference).headers["Location"]
    assert location.startswith("https://shop.example/")
    assert location.isascii()
    assert location.isprintable()


@pytest.mark.parametrize("own", ["https://pay.shop.example/payments/callback", None])
def test_an_address_that_leads_here_again_is_not_gone_round_for_ever(
    make_app: MakeApp, migrated_url: str, database: Database, own: str | None
) -> None:
    app: Flask = make_app(settings_for(migrated_url, paystack_callback_url=own))
    here = own or "http://localhost/payments/callback"
    payment = accept(database, callback_url=f"{here}?shop=1")
    page(come_back(app.test_client(), payment.reference))


def test_without_postgres_the_customer_is_told_so_in_words(cut_off: FlaskClient) -> None:
    html = page(come_back(cut_off, "pf-" + "0" * 26), 503)
    assert "What you have paid is not lost" in html
