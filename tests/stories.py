"""The sentences that tests of several folders are told in."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from db import methods, payments, webhooks
from db.clock import advance_test_clock
from db.connection import Database
from db.methods import SealedAuthorization
from db.payments import NewPayment
from db.sealing import Seal
from domain.ids import reference_of
from domain.method import Authorization, PaymentMethod
from domain.money import Currency, Money
from domain.payment import Payment
from domain.settings import Settings

SECRET_KEY = "sk_test_0123456789abcdef"
JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough"
ENCRYPTION_KEY = base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()
EMAIL = "ada.lovelace@example.com"
AUTHORIZATION_CODE = "AUTH_8dfhjjdt"
_ORDERS = count(1)  # an order has one live payment at a time
EXCHANGE = "payment_events_test"


def settings_for(database_url: str, **changes: Any) -> Settings:
    """The settings of a test; nothing of the surrounding environment shines through."""
    values: dict[str, Any] = {
        "port": 3000,
        "database_url": database_url,
        "database_pool_min": 0,
        "database_pool_max": 8,
        "rabbitmq_exchange": EXCHANGE,
        "paystack_secret_key": SECRET_KEY,
        "paystack_base_url": "http://127.0.0.1:1",
        "paystack_callback_url": None,
        "jwt_secret": JWT_SECRET,
        "jwt_public_key": None,
        "jwt_issuer": None,
        "jwt_audience": None,
        "encryption_key": ENCRYPTION_KEY,
        # One customer asks for all the tests; those about limits set their own.
        "rate_limit_max_requests": 1_000_000,
        "rate_limit_payment_max": 1_000_000,
    }
    return Settings(**values | changes)


def seal() -> Seal:
    return Seal([SecretStr(ENCRYPTION_KEY)])


def accept(database: Database, **changes: Any) -> Payment:
    """Accept a payment of ₦500.00."""
    payment = try_to_accept(database, **changes)
    assert payment is not None
    return payment


def try_to_accept(
    database: Database,
    *,
    key: str | None = None,
    amount: int = 50_000,
    currency: Currency = Currency.NGN,
    order_id: str | None = None,
    user_id: str = "user-1",
    email: str = EMAIL,
    metadata: dict[str, Any] | None = None,
    channels: tuple[str, ...] = (),
    callback_url: str | None = None,
    payment_method_id: UUID | None = None,
    save_payment_method: bool = False,
) -> Payment | None:
    order_id = f"order-{next(_ORDERS)}" if order_id is None else order_id
    new = NewPayment(
        user_id=user_id,
        order_id=order_id,
        money=Money(amount, currency),
        email_sealed=seal().seal(email.encode()),
        channels=channels,
        callback_url=callback_url,
        metadata=metadata or {},
        patience=timedelta(hours=1),
        first_look=timedelta(minutes=4),
        payment_method_id=payment_method_id,
        save_payment_method=save_payment_method,
    )
    with database.connection() as connection:
        return payments.accept_payment(
            connection,
            new=new,
            caller="user-1",
            key=key,
            fingerprint=hashlib.sha256(order_id.encode()).digest(),
            correlation_id="req_test",
            trace_context=None,
        )


def authorization(code: str = AUTHORIZATION_CODE, **changes: Any) -> Authorization:
    """A card that may be charged again, as Paystack tells of it."""
    values: dict[str, Any] = {
        "email": EMAIL,
        "reusable": True,
        "signature": "SIG_ada",
        "channel": "card",
        "card_type": "visa",
        "brand": "visa",
        "last4": "4081",
        "exp_month": 12,
        "exp_year": 2030,
    }
    return Authorization(code=code, **values | changes)


def save_method(database: Database, given: Authorization | None = None, *, user_id: str = "user-1") -> PaymentMethod:
    """Have an active method, as after a charge that was asked to save it; returns the user's newest."""
    given = given or authorization()
    sealed = SealedAuthorization(given, seal().seal(given.code.encode()), seal().seal(given.email.encode()))
    with database.transaction() as tx:
        methods.lock_user(tx, user_id)
        methods.insert_active_method(tx, user_id=user_id, sealed=sealed)
        return methods.get_active_methods(tx, user_id)[0]


def method_now(database: Database, method_id: UUID) -> PaymentMethod:
    with database.connection() as connection:
        return methods.get_methods(connection, [method_id])[method_id]


def active_codes(database: Database, user_id: str = "user-1") -> list[str]:
    """The codes a user can be charged with, newest method first."""
    with database.connection() as connection:
        found = methods.get_active_methods(connection, user_id)
    return [seal().open(method.authorization_sealed).decode() for method in found]


def payment_now(database: Database, payment_id: UUID) -> Payment:
    with database.connection() as connection:
        payment = payments.get_payment(connection, payment_id)
    assert payment is not None
    return payment


def pass_time(database: Database, **by: float) -> None:
    """Let time pass: `hours=1`."""
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(**by))


def milliseconds(at: datetime) -> int:
    """An instant as UUIDv7 holds it."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def rows(database: Database, sql: Any, *parameters: Any) -> list[tuple[Any, ...]]:
    """What a statement finds; a plain look beside the code under test."""
    with database.connection() as connection:
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def job_ids(database: Database, kind: str = "initialize_payment") -> list[UUID]:
    return [row[0] for row in rows(database, "SELECT id FROM jobs WHERE kind = %s ORDER BY id", kind)]


def history_of(database: Database, payment_id: UUID) -> list[tuple[str, str]]:
    """The facts of a payment's timeline, each with the status it led to."""
    sql = "SELECT fact, status::text FROM payment_history WHERE payment_id = %s ORDER BY version"
    return [(row[0], row[1]) for row in rows(database, sql, payment_id)]


def event_types(database: Database) -> list[str]:
    return sorted(row[0] for row in rows(database, "SELECT type FROM events"))


def transaction_data(payment: Payment, **changes: Any) -> dict[str, Any]:
    """A transaction of this payment as Paystack shows a paid one."""
    return {
        "id": 4_099_260_516,
        "domain": "test",
        "status": "success",
        "reference": reference_of(payment.id, 1),
        "amount": payment.money.amount,
        "requested_amount": payment.money.amount,
        "currency": payment.money.currency.value,
        "channel": "card",
        "gateway_response": "Successful",
        "message": None,
        "paid_at": "2026-03-01T12:00:00.000Z",
        "customer": {"email": EMAIL, "phone": None},
        "authorization": {
            "authorization_code": AUTHORIZATION_CODE,
            "last4": "4081",
            "exp_month": "12",
            "exp_year": "2030",
            "card_type": "visa ",
            "brand": "visa",
            "reusable": True,
        },
        **changes,
    }


def event_body(event: str, data: Any) -> bytes:
    return json.dumps({"event": event, "data": data}).encode()


def signature_of(body: bytes, key: str = SECRET_KEY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha512).hexdigest()


def store_webhook(database: Database, body: bytes) -> bool:
    """Store an event as the ingress does."""
    with database.connection() as connection:
        return webhooks.insert_webhook(
            connection,
            digest=hashlib.sha256(body).digest(),
            body_sealed=seal().seal(body),
            correlation_id="req_webhook",
            trace_context=None,
        )
