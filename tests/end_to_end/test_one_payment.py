"""One payment's life through real processes, over real HTTP, as a merchant's backend and a customer live it."""

import json
import os
import signal
from contextlib import closing

import pika
import pytest

from ops.embedded.ports import answers
from tests.end_to_end.fleet import CARD, Fleet, dump, wait_until
from workers.topology import declare_topology


def test_a_payment_goes_from_post_to_success_and_downstream_hears_of_it(fleet: Fleet) -> None:
    parameters = pika.URLParameters(fleet.env["RABBITMQ_URL"])
    declare_topology(parameters, "payment_events")  # a subscriber may come before the relay does
    with closing(pika.BlockingConnection(parameters)) as connection:
        _follow_one_payment(fleet, connection)


def _follow_one_payment(fleet: Fleet, connection: pika.BlockingConnection) -> None:
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "payment_events", "payment.*")

    response = fleet.post_payment(wait=20, metadata={"cart": 7})
    payment = response.json()["data"]
    assert response.status_code == 201, response.text
    assert payment["status"] == "pending"
    assert payment["authorizationUrl"].startswith(fleet.sandbox_url)

    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get_payment(payment["paymentId"])["status"] == "success", "the payment succeeded")

    paid = fleet.get_payment(payment["paymentId"])
    assert (paid["amount"], paid["currency"], paid["channel"]) == (250_000, "NGN", "card")
    assert (paid["cardLast4"], paid["cardBrand"]) == ("4081", "visa")
    assert paid["metadata"] == {"cart": 7}

    told = {}
    for _, properties, body in channel.consume(queue, inactivity_timeout=20):
        assert body is not None
        assert properties is not None
        event = json.loads(body)
        assert properties.message_id == event["id"]
        assert properties.content_type == "application/cloudevents+json"
        if event["subject"] == payment["paymentId"]:
            told[event["type"]] = event
        if len(told) == 2:
            break
    assert sorted(told) == ["payment.initiated", "payment.succeeded"]
    assert told["payment.succeeded"]["data"]["status"] == "success"
    assert told["payment.succeeded"]["correlationid"]


def test_a_client_that_polls_gets_202_a_location_and_then_the_checkout_page(fleet: Fleet) -> None:
    response = fleet.post_payment()
    assert response.status_code == 202
    payment = response.json()["data"]
    assert response.headers["Location"] == f"/payments/{payment['paymentId']}"
    assert response.headers["Retry-After"]
    wait_until(
        lambda: fleet.get_payment(payment["paymentId"])["authorizationUrl"] is not None, "the checkout page is there"
    )


def test_the_metadata_and_amount_that_paystack_holds_are_those_that_were_posted(fleet: Fleet) -> None:
    payment = fleet.post_payment(wait=20, amount=123_456, metadata={"n": 5, "deep": {"list": [1, "two"]}}).json()[
        "data"
    ]
    held = next(row for row in fleet.book()["transactions"] if row["reference"] == payment["reference"])
    assert held["amount"] == 123_456
    metadata = held["metadata"]
    assert (json.loads(metadata) if isinstance(metadata, str) else metadata) == {"n": 5, "deep": {"list": [1, "two"]}}


def test_a_payment_that_paystack_reports_with_another_amount_is_flagged_and_not_paid(fleet: Fleet) -> None:
    payment = fleet.post_payment(wait=20).json()["data"]
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD, amount=100)
    wait_until(
        lambda: fleet.get_payment(payment["paymentId"])["reviewReason"] == "amount_mismatch", "the payment was flagged"
    )
    assert fleet.get_payment(payment["paymentId"])["status"] == "pending"


def test_webhooks_that_come_twice_and_out_of_order_change_a_payment_once(fleet: Fleet) -> None:
    fleet.control("settings", webhook_faults={"duplicate": 1.0, "copies": 3})
    payment = fleet.post_payment(wait=20).json()["data"]
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get_payment(payment["paymentId"])["status"] == "success", "the payment succeeded")

    def delivered() -> bool:
        mine = [row for row in fleet.book()["deliveries"] if row["reference"] == payment["reference"]]
        return len(mine) >= 3 and all(row["status"] == "delivered" for row in mine)

    wait_until(delivered, "every copy was delivered")
    wait_until(lambda: fleet.query("SELECT count(*) FROM jobs") == [(0,)], "the ledger is empty")
    history = fleet.query(
        "SELECT fact FROM payment_history h JOIN payments p ON p.id = h.payment_id"
        " WHERE p.access_code = %s ORDER BY h.version",
        payment["accessCode"],
    )
    assert history == [("payment.accepted",), ("payment.initialized",), ("payment.succeeded",)]


def test_a_lost_initialize_answer_is_asked_about_and_the_customer_gets_a_working_page(fleet: Fleet) -> None:
    fleet.control("faults", endpoint="initialize", kind="lost_answer", times=1)
    payment = fleet.post_payment(wait=20).json()["data"]
    assert payment["reference"].endswith(".2"), dump(payment)
    fleet.control(f"transactions/{payment['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get_payment(payment["paymentId"])["status"] == "success", "the payment succeeded")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 502, "body": "html"},
        {"kind": "error", "status": 500, "body": "empty"},
        {"kind": "reset"},
        {"kind": "garbage"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('body', '')}",
)
def test_a_passing_fault_of_paystack_delays_a_payment_and_does_not_fail_it(fleet: Fleet, fault: dict) -> None:
    fleet.control("faults", endpoint="initialize", times=1, **fault)
    payment = fleet.post_payment().json()["data"]

    def payable() -> bool:
        fleet.advance_clock(60)  # so that back-off and Retry-After are over at once
        return fleet.get_payment(payment["paymentId"])["authorizationUrl"] is not None

    wait_until(payable, "the payment can be paid")


def test_a_refusal_of_paystack_ends_the_payment_with_its_reason(fleet: Fleet) -> None:
    payment = fleet.post_payment(wait=20, email="nobody@shop.test").json()["data"]
    assert payment["status"] == "failed"
    assert payment["failure"] == {"code": "PAYSTACK_API_ERROR", "message": "Invalid Email Address Passed"}


@pytest.mark.parametrize("name", ["web", "relay", "worker-1", "scheduler"])
def test_every_process_ends_by_itself_on_sigterm(fleet: Fleet, name: str) -> None:
    restarts = fleet.supervisor.restarts(name)
    os.kill(fleet.supervisor.pid(name), signal.SIGTERM)
    wait_until(lambda: fleet.supervisor.restarts(name) > restarts, f"{name} ended and was started again", seconds=40)
    text = fleet.supervisor.log(name).read_text()
    assert "Traceback" not in text, text[-3000:]
    wait_until(lambda: answers(int(fleet.env["PORT"])), "the API answers")
    assert fleet.post_payment(wait=20).status_code == 201
