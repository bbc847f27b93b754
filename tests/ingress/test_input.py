"""Whatever is sent, the answer is in the envelope, names what is wrong, and is never a 5xx."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from db.connection import Database
from domain.errors import STATUS_OF, ErrorCode
from tests.ingress.conftest import ORDER, bearer
from tests.stories import rows, signature_of

NOTHING_STORED = """
SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM webhook_events)
"""


def post(client: FlaskClient, raw: bytes | str, **headers: str) -> TestResponse:
    return client.post("/payments", data=raw, content_type="application/json", headers=bearer(**headers))


def in_envelope(answer: TestResponse) -> dict[str, Any]:
    body = answer.get_json()
    assert set(body) == {"success", "data", "error", "timestamp", "requestId"}
    assert body["success"] is (answer.status_code < 400)
    assert (body["data"] is None) is not body["success"]
    assert (body["error"] is None) is body["success"]
    assert body["timestamp"].endswith("Z")
    assert body["requestId"] == answer.headers["X-Request-Id"]
    assert answer.headers["Cache-Control"] == ("private, no-cache" if "ETag" in answer.headers else "no-store")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.mimetype == "application/json"
    return body


def refused(answer: TestResponse, code: ErrorCode, field: str | None = None) -> dict[str, Any]:
    body = in_envelope(answer)
    assert (body["error"]["code"], body["error"]["field"]) == (code, field), body["error"]
    assert answer.status_code == STATUS_OF[code]
    assert set(body["error"]) == {"code", "message", "details", "field"}
    return body["error"]


def with_raw(name: str, raw: str) -> str:
    """The order, with one value written into the JSON as it is."""
    fields = {key: json.dumps(value) for key, value in ORDER.items()} | {name: raw}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in fields.items()) + "}"


BAD, AMOUNT, CURRENCY = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_AMOUNT, ErrorCode.CURRENCY_NOT_SUPPORTED


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "7",
        "{} {}",
        "[" * 5000 + "]" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        with_raw("metadata", '{"a":' * 300 + "1" + "}" * 300),
        with_raw("amount", "NaN"),
        with_raw("amount", "Infinity"),
        with_raw("amount", "-Infinity"),
        with_raw("metadata", '{"a": NaN}'),
        with_raw("metadata", '{"a": 1e999}'),
        with_raw("metadata", '{"a": -1e999}'),
        with_raw("metadata", '{"a": ' + "9" * 30 + "}"),
        with_raw("amount", "9" * 6000),
        with_raw("metadata", '{"a": 1, "a": 2}'),
        with_raw("amount", '1, "amount": 50000'),
        with_raw("orderId", '"a\\u0000b"'),
        with_raw("metadata", '{"a": "\\u0000"}'),
        with_raw("metadata", '{"a\\u0000": 1}'),
        with_raw("orderId", '"\\ud800"'),
        with_raw("metadata", '{"\\udfff": 1}'),
        b'{"userId": "\xff"}',
        b'{"userId": "\xed\xa0\x80"}',
    ],
    ids=lambda raw: repr(raw)[:60],
)
def test_what_is_no_usable_json_object_is_refused(client: FlaskClient, database: Database, raw: bytes | str) -> None:
    error = refused(post(client, raw), BAD)
    assert error["message"] == "The body is not usable JSON."
    assert error["details"]
    assert rows(database, NOTHING_STORED) == [(0,)]


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("amount", "0", AMOUNT),
        ("amount", "-1", AMOUNT),
        ("amount", "1.5", AMOUNT),
        ("amount", "50000.0", AMOUNT),
        ("amount", "5e4", AMOUNT),
        ("amount", "true", AMOUNT),
        ("amount", '"50000"', AMOUNT),
        ("amount", "null", AMOUNT),
        ("amount", "[]", AMOUNT),
        ("amount", "99", AMOUNT),
        ("amount", "99999999901", AMOUNT),
        ("amount", str(2**63 - 1), AMOUNT),
        ("amount", str(2**63), AMOUNT),
        ("amount", "1e999", BAD),
        ("currency", '"EUR"', CURRENCY),
        ("currency", '"ngn"', CURRENCY),
        ("currency", "1", CURRENCY),
        ("currency", "null", CURRENCY),
        ("userId", '""', BAD),
        ("userId", '"   "', BAD),
        ("userId", "7", BAD),
        ("userId", "null", BAD),
        ("userId", json.dumps("x" * 256), BAD),
        ("orderId", "true", BAD),
        ("orderId", json.dumps("x" * 256), BAD),
        ("email", '""', BAD),
        ("email", '"ada"', BAD),
        ("email", '"ada@"', BAD),
        ("email", '"ada@localhost"', BAD),
        ("email", '"a b@example.com"', BAD),
        ("email", '"a@b@example.com"', BAD),
        ("email", '"ada@example.com\\n"', BAD),
        ("email", json.dumps("a" * 65 + "@example.com"), BAD),
        ("email", '{"a": 1}', BAD),
        ("callbackUrl", '"javascript:alert(1)"', BAD),
        ("callbackUrl", '"https://"', BAD),
        ("callbackUrl", '"https://a b.example/"', BAD),
        ("channels", '"card"', BAD),
        ("channels", '["card", "cash"]', BAD),
        ("channels", json.dumps(["card"] * 11), BAD),
        ("paymentChannel", '"cash"', BAD),
        ("metadata", "[]", BAD),
        ("metadata", '"x"', BAD),
        ("metadata", "null", BAD),
        ("surprise", "1", BAD),
        ("__proto__", "{}", BAD),
    ],
)
def test_a_bad_field_is_named(client: FlaskClient, database: Database, name: str, raw: str, code: ErrorCode) -> None:
    answer = post(client, with_raw(name, raw))
    error = in_envelope(answer)["error"]
    assert error["code"] == code
    assert answer.status_code == 400
    if raw != "1e999":
        assert error["field"].partition(".")[0] == name
    assert rows(database, NOTHING_STORED) == [(0,)]


@pytest.mark.parametrize("name", ["userId", "orderId", "amount", "email"])
def test_a_missing_field_is_named(client: FlaskClient, name: str) -> None:
    body = {key: value for key, value in ORDER.items() if key != name}
    refused(post(client, json.dumps(body)), AMOUNT if name == "amount" else BAD, name)


def test_every_fault_stands_in_the_details(client: FlaskClient) -> None:
    error = refused(post(client, "{}"), BAD, "userId")
    assert all(name in error["details"] for name in ("userId", "orderId", "amount", "email"))


def test_channels_and_payment_channel_together_are_refused(client: FlaskClient) -> None:
    refused(post(client, json.dumps({**ORDER, "channels": ["card"], "paymentChannel": "card"})), BAD)


def test_a_currency_that_is_switched_off_is_refused(client: FlaskClient, database: Database) -> None:
    rows(database, "UPDATE supported_currencies SET is_active = false WHERE code = 'NGN'")
    refused(post(client, json.dumps(ORDER)), CURRENCY, "currency")


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\\\\\u0000b"])
def test_a_backslash_before_u0000_is_text(client: FlaskClient, database: Database, text: str) -> None:
    escaped = text.replace("\\u0000", "\\\\u0000")
    assert post(client, with_raw("orderId", f'"{escaped}"')).status_code == 202


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"],
)
def test_a_body_that_is_not_declared_as_json_is_refused(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post("/payments", data=json.dumps(ORDER), content_type=content_type, headers=bearer())
    refused(answer, ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Content-Type")


def test_a_charset_beside_the_content_type_is_fine(client: FlaskClient) -> None:
    kind = "application/json; charset=utf-8"
    assert client.post("/payments", data=json.dumps(ORDER), content_type=kind, headers=bearer()).status_code == 202


def test_a_payment_request_has_at_most_64_kilobytes(client: FlaskClient) -> None:
    fits = json.dumps({**ORDER, "metadata": {"x": "y" * (65_536 - 170)}})
    assert 65_000 < len(fits) <= 65_536
    assert post(client, fits).status_code == 202
    refused(post(client, fits + " " * 1000), ErrorCode.PAYLOAD_TOO_LARGE)


def test_a_webhook_has_at_most_256_kilobytes(client: FlaskClient, database: Database) -> None:
    fits = b'{"event": "x"}'.ljust(262_144)
    assert hook(client, fits).status_code == 200
    refused(hook(client, fits + b" "), ErrorCode.PAYLOAD_TOO_LARGE)
    assert rows(database, "SELECT count(*) FROM webhook_events") == [(1,)]


def hook(client: FlaskClient, body: bytes, signature: str | None = None) -> TestResponse:
    signed = signature_of(body) if signature is None else signature
    return client.post("/webhooks/paystack", data=body, headers={"x-paystack-signature": signed})


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb", "\x7f"])
def test_an_odd_idempotency_key_is_refused(client: FlaskClient, key: str) -> None:
    refused(post(client, json.dumps(ORDER), **{"Idempotency-Key": key}), BAD, "Idempotency-Key")


@pytest.mark.parametrize("wait", ["wait=31", "wait=999999999", "respond-async, wait=60", 'wait="31"'])
def test_a_wait_that_is_too_long_is_refused(client: FlaskClient, wait: str) -> None:
    refused(post(client, json.dumps(ORDER), Prefer=wait), BAD, "Prefer")


@pytest.mark.parametrize(
    "wait",
    [
        "",
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1e9",
        "wait=0",
        "await=9",
        "w" * 5000,
        "wait=" + "9" * 5000,
    ],
)
def test_an_odd_preference_is_ignored(client: FlaskClient, wait: str) -> None:
    answer = post(client, json.dumps(ORDER), Prefer=wait)
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "caf\xe9", "<script>"])
def test_an_odd_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/health", headers={"X-Request-Id": given})
    assert in_envelope(answer)["requestId"].startswith("req_")


def test_a_usable_request_id_follows_the_payment(client: FlaskClient, database: Database) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = post(client, json.dumps(ORDER), **{"X-Request-Id": "order:7_a.b-c", "traceparent": trace})
    assert in_envelope(answer)["requestId"] == "order:7_a.b-c"
    assert rows(database, "SELECT correlation_id, trace_context FROM jobs") == [("order:7_a.b-c", trace)]
    assert rows(database, "SELECT correlation_id FROM payment_history") == [("order:7_a.b-c",)]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/payment",
        "/payments/",
        "/payments//x",
        "//payments",
        "/payments/x/y",
        "/webhooks",
        "/%00",
        "/\u2603",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_leads_nowhere_is_answered_404(client: FlaskClient, method: str, path: str) -> None:
    refused(client.open(path, method=method, headers=bearer()), ErrorCode.NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/payments"), ("DELETE", "/payments"), ("GET", "/webhooks/paystack"), ("POST", "/health")],
)
def test_another_method_is_answered_405_with_those_allowed(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    refused(answer, ErrorCode.METHOD_NOT_ALLOWED)
    assert answer.headers["Allow"]


@pytest.mark.parametrize("host", ["a b", "x" * 300, "[::1", "evil.example", ""])
def test_an_odd_host_is_no_failure(client: FlaskClient, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ORDERS = st.fixed_dictionaries(
    {},
    optional={name: st.just(value) | JSON for name, value in ORDER.items()} | {"metadata": JSON, "channels": JSON},
)
ANYTHING = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANYTHING
@given(JSON | ORDERS)
def test_no_json_makes_the_payments_route_fail(client: FlaskClient, body: Any) -> None:
    answer = post(client, json.dumps(body))
    assert answer.status_code < 500, answer.get_json()
    in_envelope(answer)


@ANYTHING
@given(st.binary(max_size=300))
def test_no_bytes_make_the_payments_route_fail(client: FlaskClient, body: bytes) -> None:
    answer = post(client, body)
    assert answer.status_code < 500
    in_envelope(answer)


@ANYTHING
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_the_webhook_route_fail(client: FlaskClient, body: bytes, signed: bool) -> None:
    answer = hook(client, body, None if signed else "0" * 128)
    assert answer.status_code == (200 if signed else 401)
    in_envelope(answer)


@ANYTHING
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "Authorization",
                "Idempotency-Key",
                "Prefer",
                "X-Request-Id",
                "traceparent",
                "x-paystack-signature",
            ]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60),
    ),
    st.sampled_from(["/payments", "/webhooks/paystack"]),
)
def test_no_header_makes_a_route_fail(client: FlaskClient, headers: dict[str, str], path: str) -> None:
    sent = bearer() | headers
    answer = client.post(path, data=json.dumps(ORDER), content_type="application/json", headers=sent)
    assert answer.status_code < 500
    in_envelope(answer)
