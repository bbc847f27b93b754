"""Who may call: a token that is complete, fresh, and signed by the one key; and only for what its roles say."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask.testing import FlaskClient

from db.connection import Database
from domain.errors import ErrorCode, SettingsError
from domain.ids import Prefix, show
from ingress.app import create_app
from ingress.auth import Role
from tests.ingress.conftest import ORDER, MakeApp, bearer, token
from tests.ingress.test_input import in_envelope, refused
from tests.stories import JWT_SECRET, accept, rows, settings_for


def get(client: FlaskClient, authorization: str | None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.get(f"/payments/pay_{'0' * 26}", headers=headers)


def part(values: Any) -> str:
    raw = values if isinstance(values, bytes) else json.dumps(values).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


CLAIMS = {"sub": "user-1", "roles": ["admin"], "exp": 9_999_999_999}
HEADER, PAYLOAD, SIGNATURE = token().split(".")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        token(),
        "Bearer x",
        "Bearer ..",
        "Bearer \xff.\xff.\xff",
        f"Bearer {token()} {token()}",
        f"Bearer {token(key='another-secret-that-is-long-enough-too')}",
        f"Bearer {token(exp=int(time.time()) - 60)}",
        f"Bearer {token(exp=None)}",
        f"Bearer {token(exp='soon')}",
        f"Bearer {token(exp=float('inf'))}",
        f"Bearer {token(exp=True, nbf=9_999_999_999)}",
        f"Bearer {token(nbf=int(time.time()) + 600)}",
        f"Bearer {token(nbf=float('inf'))}",
        f"Bearer {token(iat=float('nan'))}",
        f"Bearer {token(subject=None)}",
        f"Bearer {token(subject='')}",
        f"Bearer {token(subject=chr(0))}",
        f"Bearer {token(subject='x' * 256)}",
        f"Bearer {token(subject=chr(0xD800))}",
        f"Bearer {part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}.",
        f"Bearer {part({'alg': 'NONE'})}.{part(CLAIMS)}.x",
        f"Bearer {part({'typ': 'JWT'})}.{part(CLAIMS)}.x",
        f"Bearer {part({'alg': ['HS256']})}.{part(CLAIMS)}.x",
        f"Bearer {part({'alg': 'HS256', 'kid': 7})}.{part(CLAIMS)}.x",
        f"Bearer {part({'alg': 'HS256', 'crit': ['exp']})}.{part(CLAIMS)}.x",
        f"Bearer {part({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}.{part(CLAIMS)}.x",
        f"Bearer {part([])}.{part(CLAIMS)}.x",
        f"Bearer {part(b'[' * 6000)}.{part(CLAIMS)}.x",
        f"Bearer {part(b'{')}.{part(CLAIMS)}.x",
        f"Bearer {jwt.encode(CLAIMS, JWT_SECRET + JWT_SECRET, algorithm='HS512')}",
        f"Bearer {HEADER}.{part(CLAIMS)}.{SIGNATURE}",
        f"Bearer {HEADER}.{PAYLOAD}.{SIGNATURE[:-2]}",
        f"Bearer {jwt.api_jws.encode(b'[]', JWT_SECRET, algorithm='HS256')}",
        f"Bearer {jwt.api_jws.encode(b'[' * 6000, JWT_SECRET, algorithm='HS256')}",
    ],
    ids=lambda text: repr(text)[:50],
)
def test_a_token_that_proves_nothing_is_answered_401(client: FlaskClient, authorization: str | None) -> None:
    answer = get(client, authorization)
    refused(answer, ErrorCode.UNAUTHORIZED, "Authorization")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_good_token_gets_past(client: FlaskClient) -> None:
    refused(get(client, f"bearer  {token()}"), ErrorCode.PAYMENT_NOT_FOUND, "paymentId")


def test_a_clock_a_few_seconds_off_is_forgiven(client: FlaskClient) -> None:
    refused(get(client, f"Bearer {token(exp=int(time.time()) - 3)}"), ErrorCode.PAYMENT_NOT_FOUND, "paymentId")


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iss": "shop", "aud": "payfleet"}, True),
        ({"iss": "shop", "aud": ["payfleet", "other"]}, True),
        ({"iss": "other", "aud": "payfleet"}, False),
        ({"iss": "shop", "aud": "other"}, False),
        ({"iss": "shop"}, False),
        ({"aud": "payfleet"}, False),
        ({}, False),
    ],
)
def test_issuer_and_audience_count_when_they_are_set(
    make_app: MakeApp, database: Database, migrated_url: str, claims: dict[str, Any], good: bool
) -> None:
    client = make_app(settings_for(migrated_url, jwt_issuer="shop", jwt_audience="payfleet")).test_client()
    assert get(client, f"Bearer {token(**claims)}").status_code == (404 if good else 401)


@pytest.mark.parametrize("family", ["RS256", "ES256"])
def test_with_a_public_key_only_its_private_half_signs(
    make_app: MakeApp, database: Database, migrated_url: str, family: str
) -> None:
    def new_key() -> Any:
        return rsa.generate_private_key(65537, 2048) if family == "RS256" else ec.generate_private_key(ec.SECP256R1())

    private = new_key()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    settings = settings_for(migrated_url, jwt_secret=None, jwt_public_key=public.decode().replace("\n", "\\n"))
    client = make_app(settings).test_client()
    assert get(client, f"Bearer {jwt.encode(CLAIMS, private, algorithm=family)}").status_code == 404
    refused(
        get(client, f"Bearer {jwt.encode(CLAIMS, new_key(), algorithm=family)}"),
        ErrorCode.UNAUTHORIZED,
        "Authorization",
    )
    # The public key is no secret: signing with it as if it were one must not work.
    forged = jwt.api_jws.PyJWS()
    unsigned = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(CLAIMS)}"
    signature = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), public)
    assert forged
    refused(get(client, f"Bearer {unsigned}.{part(signature)}"), ErrorCode.UNAUTHORIZED, "Authorization")


def test_a_public_key_that_is_none_stops_the_start(migrated_url: str) -> None:
    with pytest.raises(SettingsError, match="JWT_PUBLIC_KEY"):
        create_app(settings_for(migrated_url, jwt_secret=None, jwt_public_key="-----BEGIN NONSENSE-----"))


@pytest.mark.parametrize("role", list(Role))
def test_only_the_right_roles_pay_for_somebody_else(client: FlaskClient, database: Database, role: Role) -> None:
    answer = client.post("/payments", json=ORDER, headers=bearer(token("user-2", [role])))
    if role in {Role.SERVICE, Role.ADMIN}:
        assert answer.status_code == 202
    else:
        refused(answer, ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")
        assert rows(database, "SELECT count(*) FROM payments") == [(0,)]


@pytest.mark.parametrize("role", list(Role))
def test_only_the_right_roles_see_somebody_elses_payment(client: FlaskClient, database: Database, role: Role) -> None:
    path = f"/payments/{show(Prefix.PAYMENT, accept(database).id)}"
    answer = client.get(path, headers=bearer(token("user-2", [role])))
    if role is Role.CUSTOMER:
        error = refused(answer, ErrorCode.PAYMENT_NOT_FOUND, "paymentId")
        none_at_all = client.get(f"/payments/pay_{'0' * 26}", headers=bearer()).get_json()["error"]
        assert error == none_at_all, "nobody learns that it exists"
    else:
        assert in_envelope(answer)["data"]["userId"] == "user-1"


@pytest.mark.parametrize("roles", [[], ["unknown"], ["CUSTOMER"], [7, None, {}], "admin2"])
def test_without_a_known_role_nothing_is_allowed(client: FlaskClient, roles: Any) -> None:
    headers = bearer(token(roles=roles))
    refused(client.post("/payments", json=ORDER, headers=headers), ErrorCode.INSUFFICIENT_PERMISSIONS, "userId")


def test_a_customer_pays_and_sees_the_payment(client: FlaskClient, database: Database) -> None:
    made = client.post("/payments", json=ORDER, headers=bearer())
    assert in_envelope(client.get(made.headers["Location"], headers=bearer()))["data"]["orderId"] == "order-1"
