"""The transaction endpoints answer as Paystack does: shapes, refusals, lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.harness import RunningSandbox, WebhookCatcher

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api

VERIFY_FIELDS = {
    "id",
    "domain",
    "status",
    "reference",
    "receipt_number",
    "amount",
    "message",
    "gateway_response",
    "paid_at",
    "created_at",
    "channel",
    "currency",
    "ip_address",
    "metadata",
    "log",
    "fees",
    "fees_split",
    "authorization",
    "customer",
    "plan",
    "split",
    "order_id",
    "paidAt",
    "createdAt",
    "requested_amount",
    "pos_transaction_data",
    "source",
    "fees_breakdown",
    "connect",
    "transaction_date",
    "plan_object",
    "subaccount",
}
STATUSES = ("success", "reversed", "failed", "abandoned")
FETCH_FIELDS = VERIFY_FIELDS - {"transaction_date", "plan_object"} | {"helpdesk_link"}
LIST_FIELDS = FETCH_FIELDS - {"receipt_number", "helpdesk_link", "fees_breakdown"}
AUTHORIZATION_FIELDS = {
    "authorization_code",
    "bin",
    "last4",
    "exp_month",
    "exp_year",
    "channel",
    "card_type",
    "bank",
    "country_code",
    "brand",
    "reusable",
    "signature",
    "account_name",
}


def refused(answer: requests.Response, status: int, message: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body["status"], body["message"]) == (status, False, message)
    assert body["meta"]["nextStep"]
    assert body["type"]
    return body


def test_initialize_answers_the_three_published_fields(api: Api, sandbox: RunningSandbox) -> None:
    answer = api.initialize()
    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["message"]) == (True, "Authorization URL created")
    assert body["data"].keys() == {"authorization_url", "access_code", "reference"}
    assert len(body["data"]["access_code"]) == 15
    assert len(body["data"]["reference"]) == 10
    assert body["data"]["authorization_url"] == f"{sandbox.url}/checkout/{body['data']['access_code']}"


@pytest.mark.parametrize("amount", [100, 100.0, "100", "100.0"])
def test_whole_amounts_are_taken_in_any_writing(api: Api, amount: object) -> None:
    reference = api.initialize(amount=amount).json()["data"]["reference"]
    stored = api.verify(reference)["amount"]
    assert (stored, type(stored)) == (100, int)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        (100.5, '"amount" must be an integer'),
        ("100.50", '"amount" must be an integer'),
        (0, "Invalid Amount Sent"),
        (-100, "Invalid Amount Sent"),
        ("-1", "Invalid Amount Sent"),
        (1_000_000_001, "Amount is above the maximum of 10,000,000.00"),
        ("9" * 20, "Amount is above the maximum of 10,000,000.00"),
        ("9" * 5000, '"amount" must be a number'),
        (True, '"amount" must be a number'),
        ("ten", '"amount" must be a number'),
        ([100], '"amount" must be a number'),
        (None, '"amount" is required'),
    ],
)
def test_other_amounts_are_refused(api: Api, amount: object, message: str) -> None:
    refused(api.initialize(amount=amount), 400, message)


@pytest.mark.parametrize(
    "email",
    ["ama", "ama@", "ama@localhost", "a@x.local", "a@x.invalid", "a@x.TEST", "a b@x.com", 7, "a@x..com"],
)
def test_addresses_nobody_could_write_to_are_refused(api: Api, email: object) -> None:
    body = refused(api.initialize(email=email), 400, "Invalid Email Address Passed")
    assert body["code"] == "invalid_email_address"


def test_a_missing_address_is_named(api: Api) -> None:
    assert refused(api.initialize(email=""), 400, "Email Address is required")["code"] == "missing_params"


def test_a_reference_serves_once_even_after_payment_and_with_another_amount(api: Api, sandbox: RunningSandbox) -> None:
    api.initialize(reference="order-1")
    assert refused(api.initialize(reference="order-1"), 400, "Duplicate Transaction Reference")["code"] == (
        "duplicate_reference"
    )
    sandbox.control("transactions/order-1/pay", {})
    refused(api.initialize(reference="order-1", amount=5), 400, "Duplicate Transaction Reference")
    row = sandbox.control("book")["transactions"][0]
    assert row["calls"] == {"initialize": 3, "charge": 0, "verify": 0}
    assert row["amount"] == 250000


@pytest.mark.parametrize("reference", ["a b", "a/b", "ü", "a#", "x" * 201, ["a"]])
def test_references_with_other_characters_are_refused(api: Api, reference: object) -> None:
    assert api.initialize(reference=reference).status_code == 400


def test_references_with_the_documented_characters_are_taken(api: Api) -> None:
    assert api.initialize(reference="A-z.0=9").json()["data"]["reference"] == "A-z.0=9"


def test_a_currency_that_is_not_enabled_is_refused(api: Api) -> None:
    refused(api.initialize(currency="EUR"), 400, "Currency not supported by merchant")
    assert api.initialize(currency="GHS").status_code == 200


def test_a_refused_call_leaves_its_reference_free(api: Api) -> None:
    api.initialize(reference="free", currency="EUR")
    assert api.initialize(reference="free").status_code == 200


def test_channels_that_the_currency_lacks_are_refused(api: Api) -> None:
    refused(api.initialize(currency="USD", channels=["mobile_money"]), 400, "No active channel")


def test_numbers_in_a_metadata_object_come_back_as_strings_and_in_a_json_string_survive(api: Api) -> None:
    api.initialize(reference="object", metadata={"n": 1, "deep": [{"f": 2.5}], "b": True, "s": "x"})
    assert api.verify("object")["metadata"] == {"n": "1", "deep": [{"f": "2.5"}], "b": True, "s": "x"}
    api.initialize(reference="string", metadata=json.dumps({"n": 1, "b": True}))
    assert api.verify("string")["metadata"] == {"n": 1, "b": True}


def test_metadata_left_out_is_empty_on_verify_and_null_on_the_list(api: Api) -> None:
    api.initialize(reference="r")
    assert api.verify("r")["metadata"] == ""
    assert api.get("").json()["data"][0]["metadata"] is None


def test_forms_are_taken_as_well_as_json(api: Api, sandbox: RunningSandbox) -> None:
    answer = api.session.post(
        f"{sandbox.url}/transaction/initialize",
        data=[
            ("email", "a@example.com"),
            ("amount", "100"),
            ("reference", "form"),
            ("channels[]", "card"),
            ("metadata[cart]", "7"),
        ],
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    assert api.verify("form")["metadata"] == {"cart": "7"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"amount": NaN, "email": "a@example.com"}',
        b'{"amount": 1e400, "email": "a@example.com"}',
        b"\xff",
        b'{"metadata":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"email":"a@example.com","amount":100,"metadata":' + b'{"a":' * 700 + b"1" + b"}" * 701,
    ],
)
def test_a_body_that_is_no_json_object_is_a_400_and_never_a_500(api: Api, sandbox: RunningSandbox, body: bytes) -> None:
    answer = api.session.post(
        f"{sandbox.url}/transaction/initialize",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 400, answer.text


def test_a_lone_surrogate_in_metadata_does_not_break_the_answer(api: Api) -> None:
    api.initialize(reference="odd", metadata='{"a": "\\ud800"}')
    assert api.verify("odd")["metadata"] == {"a": "?"}


@pytest.mark.parametrize("header", [None, "Bearer sk_test_other", "sk_test_sandbox", "Basic sk_test_sandbox"])
def test_a_missing_or_wrong_key_is_a_401(sandbox: RunningSandbox, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = requests.get(f"{sandbox.url}/transaction/verify/x", headers=headers, timeout=10)
    assert refused(answer, 401, "Invalid key")["code"] == "invalid_Key"


def test_a_live_key_is_refused_by_name(sandbox: RunningSandbox) -> None:
    headers = {"Authorization": "Bearer sk_live_abc"}
    answer = requests.get(f"{sandbox.url}/transaction/verify/x", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert "Live secret key refused" in answer.json()["message"]


def test_an_unpaid_transaction_verifies_as_abandoned_with_every_field(api: Api) -> None:
    api.initialize(reference="r")
    data = api.verify("r")
    assert data.keys() == VERIFY_FIELDS
    assert data["status"] == "abandoned"
    assert data["gateway_response"] == "The transaction was not completed"
    assert (data["paid_at"], data["authorization"], data["fees"]) == (None, {}, None)
    assert data["id"] > 2**31


def test_a_paid_transaction_has_the_published_fields_everywhere(api: Api, sandbox: RunningSandbox) -> None:
    api.initialize(reference="r")
    sandbox.control("transactions/r/pay", {})
    data = api.verify("r")
    assert (data["status"], data["fees"], data["channel"]) == ("success", 13750, "card")
    assert data["authorization"].keys() == AUTHORIZATION_FIELDS
    assert data["authorization"]["card_type"] == "visa "
    assert data["paid_at"] == data["paidAt"]
    fetched = api.get(f"/{data['id']}").json()
    assert fetched["message"] == "Transaction retrieved"
    assert fetched["data"].keys() == FETCH_FIELDS
    assert api.get("").json()["data"][0].keys() == LIST_FIELDS


def test_one_card_has_one_signature_for_all_customers_and_a_new_code_for_each_use(
    api: Api, sandbox: RunningSandbox
) -> None:
    for reference, email in (("r1", "a@example.com"), ("r2", "b@example.com")):
        api.initialize(reference=reference, email=email)
        sandbox.control(f"transactions/{reference}/pay", {})
    first, second = (api.verify(reference)["authorization"] for reference in ("r1", "r2"))
    assert first["signature"] == second["signature"]
    assert first["authorization_code"] != second["authorization_code"]


def test_verify_may_lag_behind_the_webhook(api: Api, sandbox: RunningSandbox, catcher: WebhookCatcher) -> None:
    sandbox.control("clock", {"freeze": True})
    sandbox.control("settings", {"verify_lag_ms": 2_000})
    api.initialize(reference="r")
    sandbox.control("transactions/r/pay", {})
    assert catcher.wait_for(1)[0].event["data"]["status"] == "success"
    early = api.verify("r")
    assert (early["status"], early["gateway_response"]) == ("ongoing", "Transaction in progress")
    assert (early["paid_at"], early["paidAt"], early["fees"], early["authorization"]) == (
        None,
        None,
        None,
        {},
    )
    assert early.keys() == VERIFY_FIELDS
    sandbox.control("clock", {"advance_seconds": 2})
    assert api.verify("r")["status"] == "success"


def test_an_unknown_reference_is_refused_with_the_status_chosen(api: Api, sandbox: RunningSandbox) -> None:
    refused(api.get("/verify/nope"), 400, "Transaction reference not found.")
    sandbox.control("settings", {"unknown_reference_status": 404})
    assert refused(api.get("/verify/nope"), 404, "Transaction reference not found.")["code"] == (
        "transaction_not_found"
    )


@pytest.mark.parametrize("wanted", ["1", "nope", "9" * 5000])
def test_an_unknown_id_is_a_404(api: Api, wanted: str) -> None:
    refused(api.get(f"/{wanted}"), 404, "Transaction not found")


def test_an_endpoint_that_is_not_built_says_so(api: Api, sandbox: RunningSandbox) -> None:
    answer = api.session.get(f"{sandbox.url}/dispute", timeout=10)
    refused(answer, 404, "The sandbox has no such endpoint")


@pytest.mark.parametrize("path", ["/transaction", "/transaction/verify/r", "/refund", "/customer"])
def test_a_slash_at_the_end_changes_nothing(api: Api, path: str) -> None:
    api.initialize(reference="r")
    assert api.ask(f"{path}/").json() == api.ask(path).json()


@pytest.mark.parametrize("per_page", ["0", "-1", "many", "1.5", "²"])
def test_a_page_of_no_size_is_refused(api: Api, per_page: str) -> None:
    for path in ("/transaction", "/refund", "/customer"):
        refused(api.ask(path, perPage=per_page), 400, '"perPage" must be a positive number')
        refused(api.ask(path, page=per_page), 400, '"page" must be a positive number')


def test_a_page_beyond_the_end_is_empty_and_a_page_of_too_many_is_cut(api: Api) -> None:
    api.initialize()
    beyond = api.get("", page=9, perPage=10).json()
    assert (beyond["data"], beyond["meta"]["total"], beyond["meta"]["pageCount"]) == ([], 1, 1)
    assert api.get("", perPage=100_000).json()["meta"]["perPage"] == 100
    assert api.get("", per_page=7).json()["meta"]["perPage"] == 7


def test_a_list_can_be_of_nothing(api: Api) -> None:
    meta = {"total": 0, "total_volume": 0, "skipped": 0, "perPage": 50, "page": 1, "pageCount": 0}
    assert api.get("").json()["meta"] == meta
    assert api.get("", use_cursor="true").json()["meta"] == {"next": None, "previous": None, "perPage": 50}


@pytest.mark.parametrize("query", [{"next": "x", "previous": "x"}, {"next": "?"}, {"previous": "bm90aGluZw=="}])
def test_a_cursor_that_is_none_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.get("", use_cursor="true", **query).status_code == 400


def test_the_list_is_filtered_and_newest_first(api: Api, sandbox: RunningSandbox) -> None:
    for number in range(4):
        api.initialize(reference=f"r{number}", amount=100 + number, email=f"p{number % 2}@example.com")
    sandbox.control("transactions/r1/pay", {})
    sandbox.control("transactions/r2/pay", {"outcome": "failed"})

    def references(**query: str | int) -> list[str]:
        return [row["reference"] for row in api.get("", **query).json()["data"]]

    customer = api.verify("r1")["customer"]
    assert references() == ["r3", "r2", "r1", "r0"]
    assert references(status="success") == ["r1"]
    assert references(status="failed") == ["r2"]
    assert references(amount=103) == ["r3"]
    assert references(customer=customer["id"]) == ["r3", "r1"]
    assert references(customer=customer["customer_code"]) == []
    assert references(customer_code=customer["customer_code"]) == ["r3", "r1"]
    assert references(source="pos") == references(split_code="SPL_1") == references(settlement=7) == []
    assert references(source="merchantApi") == ["r3", "r2", "r1", "r0"]
    assert references(**{"from": "2100-01-01"}) == []
    assert references(to="2100-01-01") == ["r3", "r2", "r1", "r0"]
    assert api.get("", **{"from": "soon"}).status_code == 400


def test_the_list_finds_what_was_refunded_by_its_new_status(api: Api, sandbox: RunningSandbox) -> None:
    sandbox.control("clock", {"freeze": True})
    for reference in ("kept", "back"):
        api.initialize(reference=reference)
        sandbox.control(f"transactions/{reference}/pay", {})
    api.refund("back")
    sandbox.control("clock", {"advance_seconds": 5})
    found = {status: [row["reference"] for row in api.get("", status=status).json()["data"]] for status in STATUSES}
    assert found == {"success": ["kept"], "reversed": ["back"], "failed": [], "abandoned": []}


def test_pages_by_number_count_everything(api: Api) -> None:
    for number in range(5):
        api.initialize(reference=f"r{number}", amount=100)
    body = api.get("", perPage=2, page=3).json()
    assert [row["reference"] for row in body["data"]] == ["r0"]
    assert body["meta"] == {
        "total": 5,
        "total_volume": 500,
        "skipped": 4,
        "perPage": 2,
        "page": 3,
        "pageCount": 3,
    }


def test_a_cursor_leads_through_the_whole_list_and_back(api: Api) -> None:
    for number in range(5):
        api.initialize(reference=f"r{number}")
    seen: list[str] = []
    query: dict[str, str | int] = {"use_cursor": "true", "perPage": 2}
    while True:
        body = api.get("", **query).json()
        seen += [row["reference"] for row in body["data"]]
        if body["meta"]["next"] is None:
            break
        query["next"] = body["meta"]["next"]
    assert seen == ["r4", "r3", "r2", "r1", "r0"]
    back = api.get("", use_cursor="true", perPage=2, previous=body["meta"]["previous"]).json()
    assert [row["reference"] for row in back["data"]] == ["r2", "r1"]


def test_totals_add_up_what_was_paid_by_currency(api: Api, sandbox: RunningSandbox) -> None:
    for reference, amount, currency in (
        ("a", 100, "NGN"),
        ("b", 200, "NGN"),
        ("c", 300, "GHS"),
        ("d", 9, "NGN"),
    ):
        api.initialize(reference=reference, amount=amount, currency=currency)
        if reference != "d":
            sandbox.control(f"transactions/{reference}/pay", {})
    data = api.get("/totals").json()["data"]
    assert (data["total_transactions"], data["total_volume"]) == (3, 600)
    assert data["total_volume_by_currency"] == [
        {"currency": "NGN", "amount": 300},
        {"currency": "GHS", "amount": 300},
    ]


def test_a_timeline_of_nothing_known_is_refused(api: Api) -> None:
    refused(api.get("/timeline/nope"), 404, "Transaction ID or reference is invalid")


def test_the_same_seed_hands_out_the_same_codes_after_a_reset(api: Api, sandbox: RunningSandbox) -> None:
    before = api.initialize().json()
    assert api.initialize().json() != before
    sandbox.control("reset", {})
    assert sandbox.control("book") == {"transactions": [], "refunds": [], "deliveries": [], "counters": {}}
    assert api.initialize().json() == before
