"""Refunds are refused, listed and end as Paystack's do, and the book knows what really went back."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox
from sandbox.world import Options
from tests.sandbox.conftest import Api

CREATED_FIELDS = {
    *("transaction", "integration", "deducted_amount", "channel", "merchant_note", "customer_note", "status"),
    *("refunded_by", "expected_at", "currency", "domain", "amount", "fully_deducted", "id", "createdAt", "updatedAt"),
}
EVENT_FIELDS = {
    *("status", "transaction_reference", "refund_reference", "amount", "currency", "processor", "customer"),
    *("integration", "domain"),
}


@pytest.fixture(autouse=True)
def _frozen(sandbox: RunningSandbox) -> None:
    sandbox.control("clock", {"freeze": True})


def advance(sandbox: RunningSandbox, seconds: float = 60) -> None:
    sandbox.control("clock", {"advance_seconds": seconds})


def paid(api: Api, sandbox: RunningSandbox, reference: str = "r", *, card: str | None = None, **wanted: Any) -> int:
    api.initialize(reference=reference, **wanted)
    return sandbox.control(f"transactions/{reference}/pay", {"card": card} if card else {})["transaction"]["id"]


def refunded(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert body["status"] is False
    return answer.status_code, body["message"], body["code"]


def events(catcher: WebhookCatcher) -> list[dict[str, Any]]:
    return [caught.event for caught in catcher.caught if caught.event["event"].startswith("refund.")]


def test_a_refund_answers_the_published_fields_with_the_transaction_as_an_object(
    api: Api, sandbox: RunningSandbox
) -> None:
    transaction_id = paid(api, sandbox)
    body = api.refund("r", merchant_note="damaged").json()
    assert body["message"] == "Refund has been queued for processing"
    data = body["data"]
    assert data.keys() == CREATED_FIELDS
    assert (data["status"], data["amount"], data["merchant_note"]) == ("pending", 250000, "damaged")
    assert data["customer_note"] == "Refund for transaction r"
    assert (data["transaction"]["id"], data["transaction"]["reference"]) == (transaction_id, "r")


def test_fetch_and_list_name_the_transaction_by_its_number(api: Api, sandbox: RunningSandbox) -> None:
    transaction_id = paid(api, sandbox)
    refund_id = refunded(api.refund(transaction_id, amount="10000"))["id"]
    fetched = api.ask(f"/refund/{refund_id}").json()
    assert fetched["message"] == "Refund retrieved"
    assert (fetched["data"]["transaction"], fetched["data"]["amount"]) == (transaction_id, 10000)
    listed = api.ask("/refund").json()
    assert listed["message"] == "Refunds retrieved"
    assert [(row["id"], row["transaction"]) for row in listed["data"]] == [(refund_id, transaction_id)]


def test_a_refund_goes_its_way_by_the_clock_and_tells_each_step(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    paid(api, sandbox)
    refund_id = refunded(api.refund("r"))["id"]
    seen = [(api.ask(f"/refund/{refund_id}").json()["data"]["status"], api.verify("r")["status"])]
    for seconds in (2, 3):
        advance(sandbox, seconds)
        seen.append((api.ask(f"/refund/{refund_id}").json()["data"]["status"], api.verify("r")["status"]))
    assert seen == [("pending", "reversal-pending"), ("processing", "reversal-pending"), ("processed", "reversed")]
    told = events(catcher)
    assert [event["event"] for event in told] == ["refund.pending", "refund.processing", "refund.processed"]
    assert all(event["data"].keys() == EVENT_FIELDS for event in told)
    assert [event["data"]["amount"] for event in told] == ["250000"] * 3
    assert [event["data"]["transaction_reference"] for event in told] == ["r"] * 3
    assert told[0]["data"]["refund_reference"] is None
    assert told[2]["data"]["refund_reference"]
    assert sandbox.control("book")["transactions"][0]["refunded"] == 250000


def test_a_card_whose_refunds_fail_gives_the_money_back_to_the_merchant(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    paid(api, sandbox, card="4084080000671803")
    refunded(api.refund("r"))
    advance(sandbox)
    assert api.verify("r")["status"] == "success"
    last = events(catcher)[-1]
    assert (last["event"], last["data"]["amount"]) == ("refund.failed", 250000)
    assert last["data"].keys() == EVENT_FIELDS
    assert sandbox.control("book")["transactions"][0]["refunded"] == 0
    # What failed is free to be refunded again.
    assert api.refund("r").status_code == 200


def test_a_refund_that_needs_attention_waits_for_an_account_and_then_goes_through(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher
) -> None:
    paid(api, sandbox, card="4084080000671902")
    refund_id = refunded(api.refund("r"))["id"]
    path = f"{sandbox.url}/refund/retry_with_customer_details/{refund_id}"
    account = {"refund_account_details": {"currency": "NGN", "account_number": "1234567890", "bank_id": "9"}}
    assert refusal(api.session.post(path, json=account, timeout=10)) == (
        *(422, 'Invalid Refund state, refund status should be "needs-attention"', "invalid_params"),
    )
    advance(sandbox)
    last = events(catcher)[-1]
    assert last["event"] == "refund.needs-attention"
    assert last["data"].keys() == EVENT_FIELDS - {"processor"} | {"id", "customer_note", "merchant_note"}
    assert (last["data"]["id"], last["data"]["amount"]) == (str(refund_id), 250000)
    assert api.verify("r")["status"] == "reversal-pending"
    assert api.session.post(path, json={}, timeout=10).status_code == 400
    retried = api.session.post(path, json=account, timeout=10).json()
    assert retried["message"] == "Refund retried and has been queued for processing"
    assert (retried["data"]["status"], retried["data"]["reason"]) == ("processing", "PROCESSING")
    advance(sandbox)
    assert api.verify("r")["status"] == "reversed"
    assert events(catcher)[-1]["event"] == "refund.processed"


@pytest.mark.parametrize(("account", "status"), [("1012204936", "failed"), ("1012204935", "needs-attention")])
def test_eft_accounts_decide_how_a_refund_ends(api: Api, sandbox: RunningSandbox, account: str, status: str) -> None:
    page = api.initialize(reference="r", currency="ZAR").json()["data"]["authorization_url"]
    for form in ({"action": "eft", "account": account}, {"action": "bank_page", "outcome": "success"}):
        assert api.session.post(page, data=form, timeout=10).status_code == 200
    refund_id = refunded(api.refund("r"))["id"]
    advance(sandbox)
    assert api.ask(f"/refund/{refund_id}").json()["data"]["status"] == status


def test_parts_can_be_refunded_until_the_whole_is(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    refunded(api.refund("r", amount=100000))
    assert api.verify("r")["status"] == "reversal-pending"
    advance(sandbox)
    assert api.verify("r")["status"] == "success"
    refunded(api.refund("r", amount=150000))
    fully = (400, "Transaction has been fully reversed", "transaction_reversed")
    assert refusal(api.refund("r", amount=5000)) == fully
    assert refusal(api.refund("r")) == fully
    advance(sandbox)
    assert api.verify("r")["status"] == "reversed"
    book = sandbox.control("book?reference=r")
    assert book["transactions"][0]["refunded"] == sum(row["amount"] for row in book["refunds"]) == 250000


def test_a_part_that_was_refunded_may_show_as_reversed_by_setting(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("settings", {"partly_refunded_status": "reversed"})
    paid(api, sandbox)
    refunded(api.refund("r", amount=100000))
    advance(sandbox)
    assert api.verify("r")["status"] == "reversed"
    assert refunded(api.refund("r", amount=150000))


@pytest.mark.parametrize("wanted", [{}, {"amount": 200001}])
def test_a_refund_left_whole_or_too_large_is_refused_after_a_part(
    api: Api, sandbox: RunningSandbox, wanted: dict[str, int]
) -> None:
    paid(api, sandbox)
    refunded(api.refund("r", amount=50000))
    message = "Total refund amount cannot exceed original transaction amount"
    assert refusal(api.refund("r", **wanted))[:2] == (400, message)
    assert len(sandbox.control("book")["refunds"]) == 1


def test_another_currency_is_refused(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    assert refusal(api.refund("r", currency="GHS"))[1] == "Transaction currency must match refund currency"
    assert api.refund("r", currency="ngn").status_code == 200


def test_a_refund_asked_for_twice_is_made_twice_as_long_as_there_is_money(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    ids = {refunded(api.refund("r", amount=100000, merchant_note="one"))["id"] for _ in range(2)}
    assert len(ids) == 2
    assert api.refund("r", amount=100000, merchant_note="one").status_code == 400
    advance(sandbox)
    assert sandbox.control("book")["transactions"][0]["refunded"] == 200000


@pytest.mark.parametrize(("currency", "least"), [("NGN", "NGN 50"), ("GHS", "GHS 1.00"), ("USD", "USD 1")])
def test_too_little_is_refused_before_the_remainder_is_looked_at(
    api: Api, sandbox: RunningSandbox, currency: str, least: str
) -> None:
    paid(api, sandbox, currency=currency)
    refunded(api.refund("r"))
    assert refusal(api.refund("r", amount=99))[:2] == (400, f"Cannot refund less than {least}")


@pytest.mark.parametrize("transaction", ["nope", 7, "7"])
def test_an_unknown_transaction_is_a_404(api: Api, transaction: str | int) -> None:
    assert refusal(api.refund(transaction))[:2] == (404, "Transaction not found")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [({"amount": 0}, "Invalid Amount Sent"), ({"amount": 100.5}, '"amount" must be an integer')],
)
def test_amounts_are_read_as_at_initialization(
    api: Api, sandbox: RunningSandbox, wanted: dict[str, Any], message: str
) -> None:
    paid(api, sandbox)
    assert refusal(api.refund("r", **wanted))[:2] == (400, message)


def test_what_was_never_paid_cannot_be_refunded(api: Api) -> None:
    api.initialize(reference="r")
    assert api.refund("r").status_code == 400
    assert api.refund("").status_code == 400


def test_a_balance_too_low_refuses_what_is_above_it(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    sandbox.control("settings", {"refund_balance": 100000})
    assert refusal(api.refund("r")) == (
        *(400, "Insufficient balance to fulfill this refund. Please top up.", "insufficient_balance"),
    )
    assert api.refund("r", amount=100000).status_code == 200


def test_the_list_finds_by_numeric_transaction_only_and_ignores_the_currency(api: Api, sandbox: RunningSandbox) -> None:
    first, second = paid(api, sandbox, "a"), paid(api, sandbox, "b", currency="GHS")
    made = [refunded(api.refund("a", amount=10000))["id"] for _ in range(2)] + [refunded(api.refund("b"))["id"]]

    def found(**query: str | int) -> list[int]:
        return [row["id"] for row in api.ask("/refund", **query).json()["data"]]

    assert found() == made[::-1]
    assert found(transaction=first) == [made[1], made[0]]
    assert found(transaction=second) == [made[2]]
    assert found(transaction="a") == []
    assert found(currency="GHS") == made[::-1]
    assert found(perPage=2, page=2) == [made[0]]
    assert found(page=9) == []
    sandbox.control(f"refunds/{made[0]}/settle", {"outcome": "failed"})
    meta = api.ask("/refund", transaction=first, perPage=1).json()["meta"]
    assert meta == {"total": 2, "skipped": 0, "perPage": 1, "page": 1, "pageCount": 2, "failedRefundCount": 1}
    assert found(to="2000-01-01") == []
    assert found(**{"from": "2000-01-01"}) == made[::-1]
    assert api.ask("/refund", **{"from": "soon"}).status_code == 400


@pytest.mark.parametrize("refund_id", ["1", "nope", "9" * 5000])
def test_an_unknown_refund_is_a_404(api: Api, refund_id: str) -> None:
    assert api.ask(f"/refund/{refund_id}").status_code == 404


@pytest.mark.parametrize("outcome", ["processed", "failed", "needs-attention"])
def test_a_refund_can_be_given_its_end_by_hand_and_goes_no_further(
    api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher, outcome: str
) -> None:
    paid(api, sandbox)
    refund_id = refunded(api.refund("r"))["id"]
    settled = sandbox.control(f"refunds/{refund_id}/settle", {"outcome": outcome})
    assert (settled["changed"], settled["refund"]["status"]) == (True, outcome)
    assert not sandbox.control(f"refunds/{refund_id}/settle", {"outcome": outcome})["changed"]
    advance(sandbox)
    assert {event["event"] for event in events(catcher)} == {"refund.pending", f"refund.{outcome}"}


def test_an_end_is_final_and_an_unknown_one_refused(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    refund_id = refunded(api.refund("r"))["id"]
    sandbox.control(f"refunds/{refund_id}/settle", {"outcome": "failed"})
    refused = sandbox.control(f"refunds/{refund_id}/settle", {"outcome": "processed"})
    assert (refused["changed"], refused["refund"]["status"]) == (False, "failed")
    for path, body in ((f"refunds/{refund_id}/settle", {"outcome": "lost"}), ("refunds/1/settle", {})):
        with pytest.raises(urllib.error.HTTPError, match="40"):
            sandbox.control(path, body)


def test_a_lost_answer_leaves_a_refund_that_the_list_tells_of(api: Api, sandbox: RunningSandbox) -> None:
    transaction_id = paid(api, sandbox)
    sandbox.control("faults", {"endpoint": "refund", "kind": "lost_answer", "times": 1, "reference": "r"})
    with pytest.raises(requests.ConnectionError, match="without response"):
        api.refund(transaction_id, amount=10000)
    assert [row["amount"] for row in api.ask("/refund", transaction=transaction_id).json()["data"]] == [10000]


@pytest.mark.parametrize("endpoint", ["refund_list", "refund_fetch"])
def test_faults_strike_the_other_refund_endpoints_by_the_payment_they_are_about(
    api: Api, sandbox: RunningSandbox, endpoint: str
) -> None:
    struck, spared = paid(api, sandbox, "a"), paid(api, sandbox, "b")
    ids = [refunded(api.refund(transaction_id))["id"] for transaction_id in (struck, spared)]
    sandbox.control("faults", {"endpoint": endpoint, "kind": "error", "reference": "a"})
    if endpoint == "refund_list":
        answers = [api.ask("/refund", transaction=transaction_id) for transaction_id in (struck, spared)]
    else:
        answers = [api.ask(f"/refund/{refund_id}") for refund_id in ids]
    assert [answer.status_code for answer in answers] == [500, 200]


def test_a_refunded_transaction_is_never_paid_or_declined_again(api: Api, sandbox: RunningSandbox) -> None:
    page = api.initialize(reference="r").json()["data"]["authorization_url"]
    sandbox.control("transactions/r/pay", {})
    refunded(api.refund("r"))
    assert not sandbox.control("transactions/r/pay", {})["changed"]
    assert not sandbox.control("transactions/r/pay", {"outcome": "failed"})["changed"]
    assert 'name="number"' not in api.session.get(page, timeout=10).text
    assert api.session.get(f"{page}/state", timeout=10).json()["status"] == "success"
    assert api.verify("r")["status"] == "reversal-pending"


def test_the_page_for_people_shows_refunds(api: Api, sandbox: RunningSandbox) -> None:
    paid(api, sandbox)
    refund_id = refunded(api.refund("r", merchant_note="<b>broken</b>"))["id"]
    page = api.session.get(f"{sandbox.url}/_sandbox/", timeout=10).text
    assert str(refund_id) in page
    assert "&lt;b&gt;broken" in page


def test_refunds_under_way_survive_a_restart_and_go_on_at_their_times(tmp_path: Path, catcher: WebhookCatcher) -> None:
    options = Options(data=tmp_path / "book.json", webhook_url=catcher.url, seed=3)
    with running_sandbox(options) as before:
        before.control("clock", {"freeze": True})
        api = Api(before.url, before.secret_key)
        paid(api, before)
        refunded(api.refund("r"))
        advance(before, 2)
        book = before.control("book")["refunds"]
        assert book[0]["status"] == "processing"
    with running_sandbox(options) as after:
        assert after.control("book")["refunds"] == book
        advance(after, 3)
        row = after.control("book")["transactions"][0]
        assert (row["status"], row["refunded"]) == ("reversed", row["amount"])
    assert events(catcher)[-1]["event"] == "refund.processed"
