"""Customers come into being with transactions, and tell what they can be charged with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher, running_sandbox
from sandbox.world import Options
from tests.sandbox.conftest import Api

FETCHED_FIELDS = {
    *("transactions", "subscriptions", "authorizations", "first_name", "last_name", "email", "phone", "metadata"),
    *("domain", "customer_code", "risk_action", "id", "integration", "createdAt", "updatedAt", "created_at"),
    *("updated_at", "total_transactions", "total_transaction_value", "dedicated_account", "dedicated_accounts"),
    *("identified", "identifications"),
}


def pay(api: Api, sandbox: RunningSandbox, reference: str, **wanted: Any) -> dict[str, Any]:
    api.initialize(reference=reference, **wanted)
    sandbox.control(f"transactions/{reference}/pay", {})
    return api.verify(reference)


def create(api: Api, **wanted: Any) -> requests.Response:
    return api.session.post(f"{api.url}/customer", json=wanted, timeout=10)


def update(api: Api, code: str, **wanted: Any) -> requests.Response:
    return api.session.put(f"{api.url}/customer/{code}", json=wanted, timeout=10)


def test_a_payer_is_a_customer_found_by_code_and_by_address(api: Api, sandbox: RunningSandbox) -> None:
    first = pay(api, sandbox, "a")
    second = pay(api, sandbox, "b", currency="GHS")
    api.initialize(reference="unpaid")
    answers = [api.ask(f"/customer/{who}").json() for who in (first["customer"]["customer_code"], "AMA@example.com")]
    assert answers[0] == answers[1]
    assert answers[0]["message"] == "Customer retrieved"
    data = answers[0]["data"]
    assert data.keys() == FETCHED_FIELDS
    assert (data["id"], data["email"]) == (first["customer"]["id"], "ama@example.com")
    assert data["authorizations"] == [first["authorization"], second["authorization"]]
    assert data["total_transactions"] == 2
    assert data["total_transaction_value"] == [
        {"currency": "NGN", "amount": 250000},
        {"currency": "GHS", "amount": 250000},
    ]


def test_an_authorization_belongs_to_the_customer_who_paid_with_it(api: Api, sandbox: RunningSandbox) -> None:
    codes = {
        email: pay(api, sandbox, email[0], email=email)["authorization"]["authorization_code"]
        for email in ("a@example.com", "b@example.com")
    }
    for email, code in codes.items():
        listed = api.ask(f"/customer/{email}").json()["data"]["authorizations"]
        assert [row["authorization_code"] for row in listed] == [code]


@pytest.mark.parametrize("who", ["CUS_nobody", "nobody@example.com"])
def test_nobody_is_a_404_with_the_published_message(api: Api, who: str) -> None:
    for answer in (api.ask(f"/customer/{who}"), update(api, who, first_name="Ama")):
        assert (answer.status_code, answer.json()["message"]) == (
            404,
            "Customer email is invalid for your live domain.",
        )


def test_a_customer_can_be_made_first_and_is_the_one_who_pays_later(api: Api, sandbox: RunningSandbox) -> None:
    made = create(api, email="Ama@Example.com", first_name="Ama", phone="0551234987", metadata={"shop": 7}).json()
    assert made["message"] == "Customer created"
    assert made["data"]["metadata"] == {"shop": "7"}
    payer = pay(api, sandbox, "r")["customer"]
    assert (payer["id"], payer["first_name"], payer["phone"]) == (made["data"]["id"], "Ama", "0551234987")


def test_an_address_is_one_customer_however_often_it_is_made(api: Api) -> None:
    codes = {create(api, email="ama@example.com").json()["data"]["customer_code"] for _ in range(2)}
    assert len(codes) == 1
    assert api.ask("/customer").json()["meta"]["total"] == 1


@pytest.mark.parametrize("email", [None, "ama", "ama@x.test"])
def test_a_customer_needs_an_address_one_could_write_to(api: Api, email: str | None) -> None:
    assert create(api, email=email).status_code == 400


def test_an_update_changes_what_it_names_and_nothing_else(api: Api) -> None:
    code = create(api, email="ama@example.com", first_name="Ama", last_name="Mensah").json()["data"]["customer_code"]
    updated = update(api, code, last_name="Owusu", metadata={"tier": "gold"}).json()
    assert updated["message"] == "Customer updated"
    data = api.ask(f"/customer/{code}").json()["data"]
    assert (data["first_name"], data["last_name"], data["metadata"]) == ("Ama", "Owusu", {"tier": "gold"})


def test_customers_are_listed_by_number_and_by_cursor(api: Api) -> None:
    for number in range(5):
        create(api, email=f"p{number}@example.com")
    body = api.ask("/customer", perPage=2, page=2).json()
    assert [row["email"][:2] for row in body["data"]] == ["p2", "p1"]
    assert body["meta"] == {"total": 5, "skipped": 2, "perPage": 2, "page": 2, "pageCount": 3}
    first = api.ask("/customer", use_cursor="true", perPage=3).json()
    rest = api.ask("/customer", use_cursor="true", perPage=3, next=first["meta"]["next"]).json()
    assert [row["email"][:2] for row in first["data"] + rest["data"]] == ["p4", "p3", "p2", "p1", "p0"]
    assert api.ask("/customer", to="2000-01-01").json()["data"] == []


def test_customers_and_their_authorizations_survive_a_restart(tmp_path: Path, catcher: WebhookCatcher) -> None:
    options = Options(data=tmp_path / "book.json", webhook_url=catcher.url, seed=3)
    seen: list[dict[str, Any]] = []
    for start in range(2):
        with running_sandbox(options) as sandbox:
            api = Api(sandbox.url, sandbox.secret_key)
            if not start:
                create(api, email="ama@example.com", first_name="Ama", metadata={"tier": "gold"})
                pay(api, sandbox, "r")
            seen.append(api.ask("/customer/ama@example.com").json()["data"])
    assert seen[0] == seen[1]
    assert len(seen[0]["authorizations"]) == 1


def test_an_authorization_that_is_no_longer_active_is_not_listed(tmp_path: Path) -> None:
    data = tmp_path / "book.json"
    for active in (True, False):
        with running_sandbox(Options(data=data)) as sandbox:
            api = Api(sandbox.url, sandbox.secret_key)
            if active:
                pay(api, sandbox, "r")
            assert len(api.ask("/customer/ama@example.com").json()["data"]["authorizations"]) == active
            assert api.verify("r")["authorization"]["reusable"]
        data.write_text(data.read_text().replace('"active":true', '"active":false'))


def test_faults_strike_customer_endpoints_by_name(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "customer_fetch", "kind": "error", "status": 503})
    create(api, email="ama@example.com")
    assert api.ask("/customer/ama@example.com").status_code == 503
    assert api.ask("/customer").status_code == 200
