"""Faults and rate limits strike the calls they name, as often as they say, and no others."""

from __future__ import annotations

import time
import urllib.error
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.harness import RunningSandbox

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api


def exists(sandbox: RunningSandbox, reference: str) -> bool:
    return any(row["reference"] == reference for row in sandbox.control("book")["transactions"])


def test_a_reset_breaks_the_connection_before_anything_is_done(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "initialize", "kind": "reset", "times": 1})
    with pytest.raises(requests.ConnectionError, match="reset"):
        api.initialize(reference="r")
    assert not exists(sandbox, "r")
    assert api.initialize(reference="r").status_code == 200


def test_a_lost_answer_has_had_its_effect(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "initialize", "kind": "lost_answer", "times": 1})
    with pytest.raises(requests.ConnectionError, match="without response"):
        api.initialize(reference="r")
    assert exists(sandbox, "r")
    assert api.initialize(reference="r").json()["code"] == "duplicate_reference"


@pytest.mark.parametrize(
    ("body", "text"),
    [("json", '"message":"An error occurred"'), ("html", "<h1>503</h1>"), ("empty", "")],
)
def test_errors_come_as_json_html_or_nothing_and_do_nothing(
    api: Api, sandbox: RunningSandbox, body: str, text: str
) -> None:
    sandbox.control("faults", {"endpoint": "initialize", "kind": "error", "status": 503, "body": body})
    answer = api.initialize(reference="r")
    assert answer.status_code == 503
    assert text in answer.text
    assert bool(answer.text) == bool(text)
    assert not exists(sandbox, "r")


def test_an_error_may_come_after_the_effect(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "initialize", "kind": "error", "after_effect": True})
    assert api.initialize(reference="r").status_code == 500
    assert exists(sandbox, "r")


def test_garbage_is_a_200_that_nobody_can_parse(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "verify", "kind": "garbage"})
    api.initialize(reference="r")
    answer = api.get("/verify/r")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_a_rate_limited_answer_has_paystacks_body_and_headers(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"kind": "rate_limited", "reset_seconds": 7})
    answer = api.initialize()
    assert (answer.status_code, answer.json()["message"]) == (429, "Rate limit exceeded!")
    assert answer.json()["code"] == "rate_limited"
    assert answer.headers["x-ratelimit-reset"] == "7"
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert "x-ratelimit-limit" in answer.headers


def test_latencies_add_up_and_go_with_an_error(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"kind": "latency", "latency_ms": 60})
    sandbox.control("faults", {"kind": "latency", "latency_ms": {"min": 60, "max": 60}})
    sandbox.control("faults", {"kind": "error"})
    started = time.monotonic()
    assert api.initialize().status_code == 500
    assert time.monotonic() - started >= 0.12


def test_a_rule_strikes_as_often_as_it_says_and_counts(api: Api, sandbox: RunningSandbox) -> None:
    rule = sandbox.control("faults", {"endpoint": "initialize", "kind": "error", "times": 2})
    assert [api.initialize().status_code for _ in range(3)] == [500, 500, 200]
    assert sandbox.control("faults")["faults"][0]["hits"] == 2
    answer = requests.delete(f"{sandbox.url}/_sandbox/faults/{rule['id']}", timeout=10)
    assert answer.json() == {"faults": []}


def test_a_rule_may_want_one_endpoint_one_reference_or_one_amount(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "verify", "kind": "error"})
    sandbox.control("faults", {"endpoint": "initialize", "kind": "error", "reference": "bad"})
    sandbox.control("faults", {"endpoint": "initialize", "kind": "error", "amount": 13})
    assert api.initialize(reference="good").status_code == 200
    assert api.initialize(reference="bad").status_code == 500
    assert api.initialize(amount="13").status_code == 500
    assert api.get("/verify/good").status_code == 500
    assert api.get("").status_code == 200


def test_a_probability_strikes_about_as_often_as_it_says(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("faults", {"endpoint": "list", "kind": "error", "probability": 0.5})
    struck = sum(api.get("").status_code == 500 for _ in range(100))
    assert 30 <= struck <= 70


def test_faults_leave_the_control_api_and_the_checkout_page_alone(api: Api, sandbox: RunningSandbox) -> None:
    url = api.initialize().json()["data"]["authorization_url"]
    sandbox.control("faults", {"kind": "error"})
    assert requests.get(url, timeout=10).status_code == 200
    assert sandbox.control("clock")["mode"] == "running"


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "nonsense"},
        {"kind": "error", "endpoint": "dispute"},
        {"kind": "error", "probability": 2},
        {"kind": "error", "probability": True},
        {"kind": "error", "status": 200},
        {"kind": "error", "typo": 1},
        {"kind": "latency"},
        {"kind": "latency", "latency_ms": {"min": 5, "max": 1}},
        {"kind": "latency", "latency_ms": {"median": 0, "p99": 1}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(sandbox: RunningSandbox, rule: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        sandbox.control("faults", rule)
    assert sandbox.control("faults") == {"faults": []}


@pytest.mark.parametrize(
    "change",
    [
        {"nonsense": 1},
        {"autopay": {"card": "4111111111111111"}},
        {"autopay": {"card": "4084084084084081", "delay_ms": -1}},
        {"webhook_url": "ftp://x"},
        {"webhook_faults": {"drop": 1.5}},
        {"rate_limits": "none"},
        {"session_timeout_seconds": 1.5},
        {"unknown_reference_status": 500},
        {"refund_processing_ms": -1},
        {"refund_settling_ms": "soon"},
        {"refund_balance": 1.5},
        {"partly_refunded_status": "failed"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_and_changes_nothing(
    sandbox: RunningSandbox, change: dict[str, Any]
) -> None:
    before = sandbox.control("settings")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        sandbox.control("settings", {"business_name": "Changed"} | change)
    assert sandbox.control("settings") == before


def test_limits_count_per_endpoint_in_windows_of_the_clock(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"rate_limits": "test"})
    api.initialize(reference="r")
    answers = [api.get("/verify/r") for _ in range(101)]
    assert [answer.status_code for answer in answers] == [200] * 100 + [429]
    assert answers[0].headers["x-ratelimit-limit"] == "100"
    assert answers[0].headers["x-ratelimit-remaining"] == "99"
    assert answers[100].headers["x-ratelimit-reset"] == "60"
    assert api.initialize().status_code == 200
    sandbox.control("clock", {"advance_seconds": 59.5})
    late = api.get("/verify/r")
    assert (late.status_code, late.headers["x-ratelimit-reset"]) == (429, "1")
    sandbox.control("clock", {"advance_seconds": 0.5})
    assert api.get("/verify/r").status_code == 200


def test_live_limits_are_the_published_ones(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("settings", {"rate_limits": "live"})
    api.initialize(reference="r")
    assert api.initialize().headers["x-ratelimit-limit"] == "1200"
    assert api.get("/verify/r").headers["x-ratelimit-limit"] == "3000"
    assert api.get("").headers["x-ratelimit-limit"] == "600"


def test_calls_are_counted_by_their_path_template(api: Api, sandbox: RunningSandbox) -> None:
    api.initialize(reference="r")
    api.get("/verify/r")
    api.get("/verify/other")
    assert sandbox.control("book")["counters"] == {
        "POST /transaction/initialize": 1,
        "GET /transaction/verify/{reference}": 2,
    }


def test_another_sites_page_cannot_steer_the_sandbox(sandbox: RunningSandbox) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = requests.post(f"{sandbox.url}/_sandbox/reset", headers=headers, timeout=10)
    assert answer.status_code == 403
