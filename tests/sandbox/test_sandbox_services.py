"""The stand-ins of the merchant's own services answer what they were told, and fail on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from jobs.services import Order, Service, User
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.sandbox.conftest import Api

ORDER = {"amount": 250000, "currency": "NGN", "status": "open"}


def put(sandbox: RunningSandbox, path: str, **body: Any) -> requests.Response:
    return requests.put(f"{sandbox.url}/_sandbox/services/{path}", json=body, timeout=10)


def ask(sandbox: RunningSandbox, path: str) -> requests.Response:
    return requests.get(f"{sandbox.url}/services/{path}", timeout=10)


def test_a_user_is_active_unless_told_otherwise(sandbox: RunningSandbox) -> None:
    answer = ask(sandbox, "users/user_1")
    assert (answer.status_code, answer.json()) == (200, {"userId": "user_1", "status": "active"})
    assert put(sandbox, "users/user_1", status="suspended").status_code == 200
    assert ask(sandbox, "users/user_1").json()["status"] == "suspended"
    assert ask(sandbox, "users/user_2").json()["status"] == "active"
    put(sandbox, "users/user_2", email="ama@example.com")
    assert ask(sandbox, "users/user_2").json() == {"userId": "user_2", "status": "active", "email": "ama@example.com"}


def test_by_setting_only_users_that_were_told_of_exist(sandbox: RunningSandbox) -> None:
    sandbox.control("settings", {"services_know_all_users": False})
    put(sandbox, "users/user_1")
    assert ask(sandbox, "users/user_1").json() == {"userId": "user_1", "status": "active"}
    assert ask(sandbox, "users/user_2").status_code == 404


def test_an_order_exists_once_it_was_put_and_may_change(sandbox: RunningSandbox) -> None:
    assert ask(sandbox, "orders/order_1").status_code == 404
    put(sandbox, "orders/order_1", userId="user_1", **ORDER)
    assert ask(sandbox, "orders/order_1").json() == {"orderId": "order_1", "userId": "user_1"} | ORDER
    put(sandbox, "orders/order_1", **ORDER | {"status": "paid"})
    assert ask(sandbox, "orders/order_1").json() == {"orderId": "order_1"} | ORDER | {"status": "paid"}


def test_ids_may_hold_any_character(sandbox: RunningSandbox) -> None:
    name = "a/b c%é?"
    put(sandbox, f"orders/{quote(name, safe='')}", **ORDER)
    assert ask(sandbox, f"orders/{quote(name, safe='')}").json()["orderId"] == name


def test_payfleet_itself_can_read_both(sandbox: RunningSandbox) -> None:
    put(sandbox, "orders/a%2Fb", **ORDER)
    client = Service(f"{sandbox.url}/services")
    order = client.find(Order, "orders", "a/b", correlation_id="c")
    assert order == Order.model_validate({"orderId": "a/b"} | ORDER)
    user = client.find(User, "users", "user_1", correlation_id="c")
    assert user == User.model_validate({"userId": "user_1", "status": "active"})
    assert client.find(Order, "orders", "other", correlation_id="c") is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("users/u", {"status": 1}),
        ("users/u", {"name": "Ama"}),
        ("users/u", {"email": 7}),
        ("orders/o", {}),
        ("orders/o", ORDER | {"status": "shipped"}),
        ("orders/o", ORDER | {"amount": "1"}),
        ("orders/o", ORDER | {"userId": 7}),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_stored(
    sandbox: RunningSandbox, path: str, body: dict[str, Any]
) -> None:
    sandbox.control("settings", {"services_know_all_users": False})
    assert put(sandbox, path, **body).status_code == 400
    assert ask(sandbox, path).status_code == 404


def test_faults_strike_a_service_by_name_and_never_as_part_of_paystack(api: Api, sandbox: RunningSandbox) -> None:
    put(sandbox, "orders/o", **ORDER)
    sandbox.control("faults", {"kind": "error", "status": 503})
    assert api.initialize().status_code == 503
    assert ask(sandbox, "users/u").status_code == 200
    sandbox.control("faults", {"endpoint": "service_user", "kind": "error", "times": 1})
    sandbox.control("faults", {"endpoint": "service_order", "kind": "lost_answer", "times": 1})
    assert ask(sandbox, "users/u").status_code == 500
    with pytest.raises(requests.ConnectionError):
        ask(sandbox, "orders/o")
    assert [ask(sandbox, path).status_code for path in ("users/u", "orders/o")] == [200, 200]


def test_a_service_can_be_slower_than_its_callers_patience(sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "service_user", "kind": "latency", "latency_ms": 60_000})
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{sandbox.url}/services/users/u", timeout=0.2)


def test_asking_a_service_is_counted_and_needs_no_key(sandbox: RunningSandbox) -> None:
    ask(sandbox, "users/a")
    ask(sandbox, "users/b")
    assert sandbox.control("book")["counters"] == {"GET /services/users/{id}": 2}


def test_users_and_orders_survive_a_restart(tmp_path: Path) -> None:
    options = Options(data=tmp_path / "book.json")
    with running_sandbox(options) as sandbox:
        put(sandbox, "users/u", status="suspended")
        put(sandbox, "orders/o", **ORDER)
    with running_sandbox(options) as sandbox:
        assert ask(sandbox, "users/u").json()["status"] == "suspended"
        assert ask(sandbox, "orders/o").json() == {"orderId": "o"} | ORDER
