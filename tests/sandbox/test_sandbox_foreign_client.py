"""A Paystack client that nobody here wrote works against the sandbox, and can make sense of every answer."""

from __future__ import annotations

from typing import Any

import pytest
from pypaystack2 import PaystackClient
from pypaystack2.base_clients import AbstractAPIClient
from pypaystack2.enums import Currency
from pypaystack2.models.payload_models import RefundAccount
from pypaystack2.models.response_models import Transaction

from sandbox.harness import RunningSandbox


@pytest.fixture
def client(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> PaystackClient:
    # It takes no address as an argument: this one constant is all that is changed in it.
    monkeypatch.setattr(AbstractAPIClient, "_BASE_URL", sandbox.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sandbox.control("clock", {"freeze": True})
    return PaystackClient(sandbox.secret_key)


def understood(answer: Any) -> Any:
    """What the client made of an answer; it gives None, and a warning, for what it cannot read."""
    assert (answer.status_code, answer.status) == (200, True), answer.message
    assert answer.data is not None
    return answer.data


@pytest.fixture(autouse=True)
def _nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record.getMessage() for record in caplog.get_records("call") if record.name.startswith("pypaystack2")]


def test_it_initializes_verifies_and_lists(client: PaystackClient, sandbox: RunningSandbox) -> None:
    made = understood(client.transactions.initialize(amount=250000, email="ama@example.com", reference="r"))
    assert made.authorization_url.startswith(sandbox.url)
    assert understood(client.transactions.verify("r")).status == "abandoned"
    sandbox.control("transactions/r/pay", {})
    paid = understood(client.transactions.verify("r"))
    assert (paid.status, paid.amount, paid.authorization["reusable"]) == ("success", 250000, True)
    assert understood(client.transactions.get_transaction(paid.id)).reference == "r"
    listed = understood(client.transactions.get_transactions(customer=paid.customer["id"]))
    assert [row.reference for row in listed] == ["r"]
    assert understood(client.transactions.totals()).total_volume == 250000


def test_it_refunds_follows_the_refund_and_sends_bank_details_when_asked(
    client: PaystackClient, sandbox: RunningSandbox
) -> None:
    for reference, card in (("whole", "4084084084084081"), ("attention", "4084080000671902")):
        understood(client.transactions.initialize(amount=250000, email="ama@example.com", reference=reference))
        sandbox.control(f"transactions/{reference}/pay", {"card": card})
    number = understood(client.transactions.verify("whole")).id
    refunds = [
        understood(client.refunds.create(reference, amount=100000, currency=Currency.NGN, merchant_note="damaged"))
        for reference in ("whole", "attention")
    ]
    assert [refund.status for refund in refunds] == ["pending", "pending"]
    sandbox.control("clock", {"advance_seconds": 60})
    assert [understood(client.refunds.get_refund(refund.id)).status for refund in refunds] == [
        "processed",
        "needs-attention",
    ]
    account = RefundAccount(currency=Currency.NGN, account_number="0123456789", bank_id="9")
    assert understood(client.refunds.retry_refund(refunds[1].id, account)).status == "processing"
    listed = understood(client.refunds.get_refunds(transaction=str(number)))
    assert [(row.id, row.transaction, row.merchant_note) for row in listed] == [(refunds[0].id, number, "damaged")]
    assert client.refunds.get_refunds(transaction="whole").data == []


def test_it_reads_and_changes_customers(client: PaystackClient, sandbox: RunningSandbox) -> None:
    made = understood(client.customers.create("ama@example.com", first_name="Ama", metadata={"tier": "gold"}))
    understood(client.customers.update(made.customer_code, last_name="Owusu"))
    understood(client.transactions.initialize(amount=250000, email="ama@example.com", reference="r"))
    sandbox.control("transactions/r/pay", {})
    customer = understood(client.customers.get_customer("ama@example.com"))
    assert (customer.first_name, customer.last_name, customer.metadata) == ("Ama", "Owusu", {"tier": "gold"})
    assert [row.brand for row in customer.authorizations] == ["visa"]
    assert [row.id for row in understood(client.customers.get_customers())] == [customer.id]


def test_it_charges_in_steps_and_saved_cards_until_they_are_deactivated(
    client: PaystackClient, sandbox: RunningSandbox
) -> None:
    account = {"code": "057", "account_number": "0000000000"}
    step = understood(client.charge.charge("ama@example.com", 250000, bank=account, reference="account"))
    assert step.status == "send_birthday"
    assert understood(client.charge.submit_birthday("1990-05-17", "account")).status == "send_otp"
    # What it expects of a charge is a step; one that is over has to be asked for by its type.
    assert (
        understood(client.charge.submit_otp("123456", "account", alternate_model_class=Transaction)).status == "success"
    )
    assert understood(client.charge.check_pending_charge("account")).channel == "bank"

    understood(client.transactions.initialize(amount=250000, email="ama@example.com", reference="r"))
    sandbox.control("transactions/r/pay", {})
    code = understood(client.transactions.verify("r")).authorization["authorization_code"]
    charged = understood(
        client.charge.charge(
            "ama@example.com", 5000, auth_code=code, reference="saved", alternate_model_class=Transaction
        )
    )
    assert charged.status == "success"
    assert client.customers.deactivate(code).status is True
    again = client.charge.charge("ama@example.com", 5000, auth_code=code)
    assert (again.status_code, again.status) == (400, False)


def test_it_is_told_what_was_wrong(client: PaystackClient) -> None:
    refused = client.refunds.create("nothing")
    assert (refused.status_code, refused.status, refused.message) == (404, False, "Transaction not found")
