"""`/webhooks/paystack`: only what Paystack signed is stored, once, sealed, and with its job."""

import pytest
from flask.testing import FlaskClient

from db.connection import Database
from domain.errors import ErrorCode
from tests.ingress.test_input import hook, in_envelope, refused
from tests.stories import EMAIL, accept, event_body, rows, seal, signature_of, transaction_data


def test_a_signed_event_is_stored_once_with_its_job(client: FlaskClient, database: Database) -> None:
    body = event_body("charge.success", transaction_data(accept(database)))
    assert in_envelope(hook(client, body))["data"] == {"received": True, "duplicate": False}
    assert in_envelope(hook(client, body))["data"] == {"received": True, "duplicate": True}
    ((webhook_id, sealed),) = rows(database, "SELECT id, body_sealed FROM webhook_events")
    assert seal().open(bytes(sealed)) == body
    assert EMAIL.encode() not in bytes(sealed)
    jobs = rows(database, "SELECT payload, queue FROM jobs WHERE kind = 'apply_webhook'")
    assert jobs == [({"webhook_id": str(webhook_id)}, "webhooks")]


BODY = b'{"event": "charge.success", "data": {}}'


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0" * 128,
        signature_of(BODY).upper(),
        signature_of(BODY)[:-1],
        signature_of(BODY) + "0",
        signature_of(BODY, "sk_test_another"),
        signature_of(BODY + b" "),
        "caf\xe9",
    ],
)
def test_what_paystack_did_not_sign_is_not_stored(client: FlaskClient, database: Database, signature: str) -> None:
    answer = hook(client, BODY, signature)
    refused(answer, ErrorCode.PAYSTACK_WEBHOOK_INVALID, "x-paystack-signature")
    assert rows(database, "SELECT count(*) FROM webhook_events") == [(0,)]
    assert rows(database, "SELECT count(*) FROM jobs") == [(0,)]


def test_a_missing_signature_is_refused(client: FlaskClient) -> None:
    answer = client.post("/webhooks/paystack", data=BODY)
    refused(answer, ErrorCode.PAYSTACK_WEBHOOK_INVALID, "x-paystack-signature")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_the_signature_is_of_the_raw_body_whatever_its_content_type(
    client: FlaskClient, database: Database, content_type: str
) -> None:
    body = b'event=charge.success&data={"a" :  1}'
    headers = {"x-paystack-signature": signature_of(body), "Content-Type": content_type}
    assert client.post("/webhooks/paystack", data=body, headers=headers).status_code == 200
    ((sealed,),) = rows(database, "SELECT body_sealed FROM webhook_events")
    assert seal().open(bytes(sealed)) == body
