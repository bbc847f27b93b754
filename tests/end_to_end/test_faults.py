"""What a crash leaves behind, and that nothing of it is lost or done twice."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest

from domain.jobs import Queue
from tests.end_to_end.fleet import CARD, Fleet, dump, wait_until

LEASE_SECONDS = 70  # a little over jobs.initialize.LEASE_SECONDS


def test_a_worker_killed_in_the_middle_of_a_call_neither_loses_nor_doubles_the_payment(fleet: Fleet) -> None:
    fleet.control("faults", endpoint="initialize", kind="latency", latency_ms=3_000, times=1)
    payment = fleet.post_payment().json()["data"]
    wait_until(
        lambda: fleet.query("SELECT count(*) FROM payment_attempts WHERE outcome = 'unknown'") == [(1,)],
        "the call is on record before its answer",
    )
    for worker in ("worker-1", "worker-2"):
        fleet.kill(worker)

    def payable() -> bool:
        fleet.advance_clock(LEASE_SECONDS)
        return fleet.get_payment(payment["paymentId"])["authorizationUrl"] is not None

    wait_until(payable, "another worker finished it")
    held = fleet.get_payment(payment["paymentId"])
    fleet.control(f"transactions/{held['reference']}/pay", card=CARD)
    wait_until(lambda: fleet.get_payment(payment["paymentId"])["status"] == "success", "the payment succeeded")
    paid = [row for row in fleet.book()["transactions"] if row["reference"].startswith(payment["reference"])]
    assert [row["status"] for row in paid].count("success") == 1, dump(paid)
    fleet.have_sound_books()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_payments_survive_deleted_queues_and_killed_workers(fleet: Fleet) -> None:
    """Load from eight clients; meanwhile the queues are deleted twice, workers die ten times and relays three."""
    chance = random.Random(20261123)
    total = 1_000
    fleet.control("settings", autopay={"card": CARD, "delay_ms": 0})
    fleet.control("faults", endpoint="initialize", kind="latency", latency_ms=50)
    before = fleet.query("SELECT count(*) FROM payments")[0][0]
    done = threading.Event()

    def pay(number: int) -> str:
        response = fleet.post_payment(orderId=f"chaos_{number}", key=f"chaos-{number}")
        assert response.status_code == 202, response.text
        return response.json()["data"]["paymentId"]

    def disturb() -> None:
        for round_number in range(10):
            fleet.kill(chance.choice(["worker-1", "worker-2"]))
            if round_number % 3 == 1:
                fleet.kill("relay")
            if round_number in {3, 7}:
                _delete_queues(fleet.env["RABBITMQ_URL"])
        done.set()

    trouble = threading.Thread(target=disturb)
    trouble.start()
    with ThreadPoolExecutor(8) as clients:
        paid = list(clients.map(pay, range(total)))
    trouble.join()
    assert done.is_set(), "every fault was injected"

    def quiet() -> bool:
        fleet.advance_clock(LEASE_SECONDS)  # leases of the dead end, and what was lost is swept
        # What the sandbox could not deliver while web was busy comes by its own clock.
        fleet.control("clock", advance_seconds=180)
        open_payments = fleet.query(
            "SELECT count(*) FROM payments WHERE order_id LIKE 'chaos_%%' AND status <> 'SUCCESS'"
        )
        left = fleet.query("SELECT count(*) FROM jobs")
        untold = fleet.query("SELECT count(*) FROM events WHERE published_at IS NULL")
        return open_payments == left == untold == [(0,)]

    wait_until(quiet, "every payment succeeded", seconds=120)
    assert len(set(paid)) == total
    assert fleet.query("SELECT count(*) FROM payments")[0][0] == before + total
    assert fleet.query(
        "SELECT count(*), count(DISTINCT gateway_transaction_id), count(review_reason) FROM payments"
        " WHERE order_id LIKE 'chaos_%%'"
    ) == [(total, total, 0)], "none was paid twice"
    fleet.have_sound_books()


def _delete_queues(url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for queue in Queue:
        channel.queue_delete(queue)
    connection.close()
