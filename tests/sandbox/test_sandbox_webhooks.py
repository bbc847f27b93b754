"""Webhooks are signed, tried again by Paystack's schedule, and misbehave on demand."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.clock import parse_iso
from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox, wait_until
from sandbox.world import Options

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api

CHARGE_SUCCESS_FIELDS = {
    "id",
    "domain",
    "status",
    "reference",
    "amount",
    "message",
    "gateway_response",
    "paid_at",
    "created_at",
    "channel",
    "currency",
    "ip_address",
    "metadata",
    "fees_breakdown",
    "log",
    "fees",
    "fees_split",
    "authorization",
    "customer",
    "plan",
    "subaccount",
    "split",
    "order_id",
    "paidAt",
    "requested_amount",
    "pos_transaction_data",
    "source",
    "response_code",
    "gateway_response_code",
}
MINUTE, HOUR = 60, 3600


def pay(api: Api, sandbox: RunningSandbox, reference: str = "r") -> None:
    api.initialize(reference=reference)
    sandbox.control(f"transactions/{reference}/pay", {})


def deliveries(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    return sandbox.control("book")["deliveries"]


def try_seconds(delivery: dict[str, Any]) -> list[float]:
    times = [parse_iso(attempt["at"]) for attempt in delivery["attempts"]]
    return [(time - times[0]) / 1000 for time in times]


def test_a_payment_sends_one_signed_charge_success(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    api.initialize(reference="r", metadata={"note": "naïve/“quoted”"})
    sandbox.control("transactions/r/pay", {})
    (caught,) = catcher.wait_for(1)
    expected = hmac.new(b"sk_test_sandbox", caught.body, hashlib.sha512).hexdigest()
    assert caught.signature == expected
    assert caught.event["event"] == "charge.success"
    assert caught.event["data"].keys() == CHARGE_SUCCESS_FIELDS
    assert caught.event["data"]["id"] == api.verify("r")["id"]
    # Paystack writes compact JSON with slashes and UTF-8 as they are.
    assert '"metadata":{"note":"naïve/“quoted”"}' in caught.body.decode()


def test_paying_twice_pays_and_tells_once(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    pay(api, sandbox)
    paid_at = api.verify("r")["paid_at"]
    assert sandbox.control("transactions/r/pay", {})["changed"] is False
    assert sandbox.control("transactions/r/pay", {"outcome": "failed"})["changed"] is False
    sandbox.control("clock", {"advance_seconds": 0})
    assert (len(catcher.caught), api.verify("r")["paid_at"]) == (1, paid_at)


def test_a_failed_payment_sends_nothing(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    api.initialize(reference="r")
    sandbox.control("transactions/r/pay", {"outcome": "failed", "gateway_response": "No luck"})
    sandbox.control("clock", {"advance_seconds": 100 * HOUR})
    assert (api.verify("r")["status"], api.verify("r")["gateway_response"]) == ("failed", "No luck")
    assert catcher.caught == []


def test_live_retries_come_three_minutes_apart_four_times_then_hourly_for_72_hours(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    catcher.answers = [500] * 200
    sandbox.control("clock", {"freeze": True})
    pay(api, sandbox)
    sandbox.control("clock", {"advance_seconds": 100 * HOUR})
    (delivery,) = deliveries(sandbox)
    assert try_seconds(delivery) == [
        *(0, 3 * MINUTE, 6 * MINUTE, 9 * MINUTE),
        *(9 * MINUTE + hour * HOUR for hour in range(1, 73)),
    ]
    assert (delivery["status"], delivery["next_at"]) == ("failed", None)
    assert len(catcher.caught) == 76
    assert len({caught.body for caught in catcher.caught}) == 1


def test_test_mode_retries_come_hourly_for_10_hours(catcher: WebhookCatcher) -> None:
    catcher.answers = [404] * 50
    options = Options(webhook_url=catcher.url, webhook_schedule="test")
    with running_sandbox(options) as sandbox:
        sandbox.control("clock", {"freeze": True})
        sandbox.control("webhooks", {"event": "charge.success", "data": {}})
        sandbox.control("clock", {"advance_seconds": 20 * HOUR})
        assert try_seconds(deliveries(sandbox)[0]) == [hour * HOUR for hour in range(11)]


@pytest.mark.parametrize("status", [201, 202, 204, 301, 302, 400, 500])
def test_only_200_counts_as_delivered(sandbox: RunningSandbox, catcher: WebhookCatcher, status: int) -> None:
    catcher.answers = [status]
    sandbox.control("clock", {"freeze": True})
    sandbox.control("webhooks", {"event": "x", "data": {}})
    sandbox.control("clock", {"advance_seconds": 1})
    assert deliveries(sandbox)[0]["status"] == "pending"
    sandbox.control("clock", {"advance_seconds": 180})
    delivery = deliveries(sandbox)[0]
    assert delivery["status"] == "delivered"
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [status, 200]


def test_a_receiver_that_is_down_is_tried_again_and_the_reason_kept(
    sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("settings", {"webhook_url": "http://127.0.0.1:1/"})
    sandbox.control("clock", {"freeze": True})
    sandbox.control("webhooks", {"event": "x", "data": {}})
    sandbox.control("clock", {"advance_seconds": 0})
    (attempt,) = deliveries(sandbox)[0]["attempts"]
    assert attempt["status_code"] is None
    assert "ClientConnector" in attempt["error"]
    assert catcher.caught == []


def test_duplicates_arrive_as_often_as_asked(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    sandbox.control("settings", {"webhook_faults": {"duplicate": 1, "copies": 2}})
    pay(api, sandbox)
    bodies = {caught.body for caught in catcher.wait_for(3)}
    assert len(bodies) == 1
    first, *copies = deliveries(sandbox)
    assert [copy["copy_of"] for copy in copies] == [first["id"]] * 2


def test_dropped_webhooks_never_arrive_until_they_are_resent(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("settings", {"webhook_faults": {"drop": 1}})
    pay(api, sandbox)
    sandbox.control("clock", {"advance_seconds": 100 * HOUR})
    (delivery,) = deliveries(sandbox)
    assert (delivery["status"], catcher.caught) == ("dropped", [])
    sandbox.control(f"webhooks/{delivery['id']}/resend", {})
    assert catcher.wait_for(1)[0].event["event"] == "charge.success"


def test_delayed_webhooks_wait_on_the_clock(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"webhook_faults": {"delay_ms": 5_000}})
    pay(api, sandbox)
    sandbox.control("clock", {"advance_seconds": 4.999})
    assert catcher.caught == []
    sandbox.control("clock", {"advance_seconds": 0.001})
    assert len(catcher.caught) == 1


def test_reordering_lets_a_later_payment_arrive_first(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"webhook_faults": {"reorder": 1, "reorder_max_ms": 60_000}})
    references = [f"r{number}" for number in range(8)]
    for reference in references:
        pay(api, sandbox, reference)
    sandbox.control("clock", {"advance_seconds": 60})
    arrived = [caught.event["data"]["reference"] for caught in catcher.caught]
    assert sorted(arrived) == references
    assert arrived != references


def test_any_event_can_be_sent_signed(sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    event = {"event": "refund.processed", "data": {"status": "processed", "reference": "r"}}
    made = sandbox.control("webhooks", event)["deliveries"]
    (caught,) = catcher.wait_for(1)
    assert caught.event == event
    assert caught.signature
    wait_until(lambda: deliveries(sandbox)[0]["status"] == "delivered")
    assert made[0]["reference"] == "r"


def test_autopay_pays_after_its_delay_with_what_was_overridden(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("clock", {"freeze": True})
    autopay = {"card": "4084 0840 8408 4081", "delay_ms": 2_000, "amount": 1, "currency": "GHS"}
    sandbox.control("settings", {"autopay": autopay})
    api.initialize(reference="r", amount=500)
    sandbox.control("clock", {"advance_seconds": 1.999})
    assert api.verify("r")["status"] == "abandoned"
    sandbox.control("clock", {"advance_seconds": 0.001})
    data = api.verify("r")
    assert (data["status"], data["amount"], data["currency"]) == ("success", 1, "GHS")
    assert data["requested_amount"] == 500
    assert catcher.wait_for(1)[0].event["data"]["amount"] == 1


def test_autopay_with_a_declined_card_leaves_it_abandoned(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("settings", {"autopay": {"card": "4084080000005408"}})
    api.initialize(reference="r")
    sandbox.control("clock", {"advance_seconds": 0})
    assert (api.verify("r")["status"], api.verify("r")["gateway_response"]) == ("abandoned", "Declined")
    assert catcher.caught == []


def test_a_resend_takes_the_place_of_the_try_that_was_due(sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    catcher.answers = [500, 500]
    sandbox.control("clock", {"freeze": True})
    (delivery,) = sandbox.control("webhooks", {"event": "x", "data": {}})["deliveries"]
    sandbox.control("clock", {"advance_seconds": 10})
    sandbox.control(f"webhooks/{delivery['id']}/resend", {})
    sandbox.control("clock", {"advance_seconds": HOUR})
    assert try_seconds(deliveries(sandbox)[0]) == [0, 10, 10 + 3 * MINUTE]


def test_a_decline_by_hand_calls_a_planned_payment_off(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"autopay": {"delay_ms": 1_000}})
    api.initialize(reference="r")
    sandbox.control("transactions/r/pay", {"outcome": "failed"})
    sandbox.control("clock", {"advance_seconds": 2})
    assert api.verify("r")["status"] == "failed"
    assert catcher.caught == []


def test_a_reset_forgets_what_was_due_and_returns_to_the_machines_time(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    sandbox.control("clock", {"freeze": True, "advance_seconds": HOUR})
    sandbox.control("settings", {"webhook_faults": {"delay_ms": 1_000}, "business_name": "Changed"})
    sandbox.control("faults", {"kind": "error", "endpoint": "list"})
    pay(api, sandbox)
    sandbox.control("reset", {})
    clock = sandbox.control("clock", {"advance_seconds": 10})
    assert catcher.caught == []
    assert clock["mode"] == "running"
    assert abs(clock["offset_seconds"] - 10) < 1
    assert sandbox.control("faults") == {"faults": []}
    assert sandbox.control("settings")["business_name"] == "Sandbox Merchant"
    assert sandbox.control("settings")["webhook_url"] == catcher.url
