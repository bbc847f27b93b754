"""Money given back through real processes: asked over HTTP, sent by workers, ended by Paystack's own events."""

from typing import Any

from tests.end_to_end.fleet import Fleet, wait_until


def paid(fleet: Fleet) -> dict[str, Any]:
    payment = fleet.post_payment(wait=20).json()["data"]
    fleet.control(f"transactions/{payment['reference']}/pay")
    return fleet.wait_for_payment(payment["paymentId"], "success")


def test_a_refund_goes_from_post_to_success(fleet: Fleet) -> None:
    payment = paid(fleet)
    path = f"/payments/{payment['paymentId']}/refund"
    response = fleet.post(path, {"amount": 100_000, "reason": "broken"}, wait=20, key="refund-1")
    refund = response.json()["data"]
    assert (response.status_code, refund["status"]) == (201, "processing"), response.text
    fleet.control(f"refunds/{refund['paystackRefundId']}/settle", outcome="processed")
    after = fleet.wait_for_payment(payment["paymentId"], "partially_refunded")
    assert (after["refundedAmount"], after["refundableAmount"]) == (100_000, 150_000)
    assert fleet.get(f"/refunds/{refund['refundId']}")["status"] == "success"
    assert fleet.get_book(payment["reference"])["transactions"][0]["refunded"] == 100_000
    again = fleet.post(path, {"amount": 100_000, "reason": "broken"}, key="refund-1")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(fleet.get(f"{path}s")["refunds"]) == 1


def test_workers_killed_while_they_send_refunds_give_nothing_back_twice(fleet: Fleet) -> None:
    payments = [paid(fleet) for _ in range(4)]
    references = {payment["reference"] for payment in payments}
    fleet.control("faults", endpoint="refund", kind="lost_answer", times=2)
    asked = [fleet.post(f"/payments/{payment['paymentId']}/refund", {}).json()["data"] for payment in payments]
    wait_until(lambda: any(fleet.get_book(one)["refunds"] for one in references), "Paystack has a first refund")
    for worker in ("worker-1", "worker-2"):
        fleet.kill(worker)

    def all_taken_up() -> bool:
        fleet.advance_clock(30)  # leases last a minute, and searches are minutes apart
        return all(fleet.get(f"/refunds/{refund['refundId']}")["status"] != "pending" for refund in asked)

    wait_until(all_taken_up, "Paystack has every refund", seconds=60)
    for reference in references:
        assert [refund["amount"] for refund in fleet.get_book(reference)["refunds"]] == [250_000]
