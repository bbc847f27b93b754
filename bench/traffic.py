"""The requests of a campaign, built before they are needed: tokens signed, bodies fixed but for a number."""

import hashlib
import hmac
import itertools
import secrets
import time
from collections.abc import Iterator, Sequence

import jwt
import orjson

from bench.services import Stage

_BODY = (
    b'{"userId":"user_%010d","orderId":"order_%010d","amount":250000,"currency":"NGN",'
    b'"email":"customer%010d@example.com","metadata":{"cart":"c-%010d"}}'
)


_NUMBERS = itertools.count()  # one for all loads of a campaign: an order has one live payment


def payment_requests(stage: Stage, *, tokens: int = 1) -> Iterator[bytes]:
    """`POST /payments`, each with its own Idempotency-Key, order and customer.

    One token is a merchant's backend, which keeps its token for minutes; many tokens, taken in turn, are customers
    who each come with their own.
    """
    signed = [_token(stage, f"shop_{number}") for number in range(tokens)]
    run = secrets.token_hex(4).encode()
    length = len(_BODY % (0, 0, 0, 0))
    heads = [
        b"POST /payments HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nIdempotency-Key: %s-" % (token, length, run)
        for token in signed
    ]
    for number, head in zip(_NUMBERS, itertools.cycle(heads)):
        yield b"%s%010d\r\n\r\n%s" % (head, number, _BODY % (number, number, number, number))


def read_requests(stage: Stage, payment_ids: Sequence[str]) -> Iterator[bytes]:
    """`GET /payments/{id}` of these payments in turn, for ever."""
    token = _token(stage, "shop")
    ready = [
        b"GET /payments/%s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n" % (payment_id.encode(), token)
        for payment_id in payment_ids
    ]
    return itertools.cycle(ready)


def verify_requests(stage: Stage, references: Sequence[str]) -> Iterator[bytes]:
    """`GET /payments/verify` of these references in turn, each waiting for Paystack's answer."""
    token = _token(stage, "shop")
    head = b"Host: bench\r\nAuthorization: Bearer %s\r\nPrefer: wait=20\r\n\r\n" % token
    return (
        b"GET /payments/verify?reference=%s HTTP/1.1\r\n%s" % (reference.encode(), head) for reference in references
    )


def plain_gets(paths: Sequence[str]) -> Iterator[bytes]:
    """GET without any header worth reading."""
    return itertools.cycle([b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path.encode() for path in paths])


def plain_posts(path: str) -> Iterator[bytes]:
    """POST of a payment's body to a floor that does not look at it."""
    body = _BODY % (0, 0, 0, 0)
    head = b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return itertools.repeat(head % (path.encode(), len(body)) + body)


def charge_success(stage: Stage, reference: str, transaction_id: int) -> bytes:
    """Paystack's signed word that a payment was paid."""
    body = orjson.dumps(
        {
            "event": "charge.success",
            "data": {
                "id": transaction_id,
                "domain": "test",
                "status": "success",
                "reference": reference,
                "amount": 250000,
                "currency": "NGN",
                "channel": "card",
                "gateway_response": "Successful",
                "paid_at": "2026-01-02T03:04:05.000Z",
                "authorization": {
                    "authorization_code": "AUTH_bench",
                    "last4": "4081",
                    "exp_month": "12",
                    "exp_year": "2030",
                    "card_type": "visa ",
                    "brand": "visa",
                },
                "customer": {"email": "customer@example.com"},
            },
        }
    )
    signature = hmac.new(stage.secret_key.encode(), body, hashlib.sha512).hexdigest().encode()
    return (
        b"POST /webhooks/paystack HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"x-paystack-signature: %s\r\nContent-Length: %d\r\n\r\n%s" % (signature, len(body), body)
    )


def _token(stage: Stage, subject: str) -> bytes:
    claims = {"sub": subject, "roles": ["service"], "exp": int(time.time()) + 6 * 3600}
    return jwt.encode(claims, stage.environment["JWT_SECRET"], algorithm="HS256").encode()
