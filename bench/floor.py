"""What the service can at best be as fast as: the same server, framework and SQL, and nothing else.

`/floor/bare` answers a constant. `/floor/accept` also runs the statement that accepts a payment, and `/floor/read` the
one that reads a payment by its key, each with values made beforehand: no token, no body, no rules, no envelope. The
distance to these floors is what authentication, validation and the envelope cost. Run as `python -m bench.floor PORT`.
"""

import atexit
import gc
import itertools
import secrets
import sys
from datetime import timedelta

from flask import Flask, Response

from db import payments
from db.connection import Database
from db.payments import NewPayment
from db.sealing import Seal
from domain.ids import Prefix, parse
from domain.money import Currency, Money
from domain.settings import load
from ops.http_server import serve

_ANSWER = b'{"success":true,"data":{"status":"pending"},"error":null}'


_FIRST_NUMBER = 5_000_000_000  # far from the numbers of the service's own load on the same database


def application() -> Flask:
    """Build the floors' application, on a pool like the web process's."""
    settings = load()
    database = Database(
        settings.database_url.get_secret_value(),
        minimum=settings.database_pool_min,
        maximum=settings.database_pool_max,
        name="floor",
    ).__enter__()
    atexit.register(database.__exit__)
    money, sealed = Money(250_000, Currency.NGN), Seal(settings.encryption_key).seal(b"customer0000000000@example.com")
    run, numbers, fingerprint = secrets.token_hex(4), itertools.count(_FIRST_NUMBER), secrets.token_bytes(32)
    app = Flask("floor", static_folder=None)

    @app.get("/floor/bare")
    @app.post("/floor/bare")
    def bare() -> Response:
        return Response(_ANSWER, mimetype="application/json")

    @app.post("/floor/accept")
    def accept() -> Response:
        number = f"{next(numbers):010d}"  # as the service's own load has it: other keys, orders and customers each time
        new = NewPayment(
            user_id=f"user_{number}",
            order_id=f"order_{number}",
            money=money,
            email_sealed=sealed,
            channels=(),
            callback_url=None,
            metadata={"cart": "c-0000000000"},
            patience=timedelta(hours=24),
            first_look=timedelta(minutes=4),
        )
        with database.connection() as connection:
            payments.accept_payment(
                connection,
                new=new,
                caller="floor",
                key=f"{run}-{number}",
                fingerprint=fingerprint,
                correlation_id="floor",
                trace_context=None,
            )
        return Response(_ANSWER, status=202, mimetype="application/json")

    @app.get("/floor/read/<payment_id>")
    def read(payment_id: str) -> Response:
        with database.connection() as connection:
            payments.get_payment(connection, parse(Prefix.PAYMENT, payment_id))
        return Response(_ANSWER, mimetype="application/json")

    gc.freeze()  # as the service does
    return app


if __name__ == "__main__":
    serve("bench.floor:application", host="127.0.0.1", port=int(sys.argv[1]))
