"""The book on disk: one JSON file, replaced as a whole, so that a restart loses nothing it had written."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sandbox.book import (
    Attempt,
    Authorization,
    Book,
    ChargePlan,
    Customer,
    Delivery,
    PageState,
    Planned,
    Refund,
    Transaction,
)
from sandbox.clock import Clock
from sandbox.wire import Json, JsonObject, dump, load
from sandbox.world import World

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

logger = logging.getLogger(__name__)

_FORMAT = 3
_EVERY_SECONDS = 3.0
# Writing stops the server for its length, so a large book is written less often: 5 % of the time at most.
_PAUSE_PER_WRITE = 20


class UnusableSnapshotError(ValueError):
    """The data file is not one of this sandbox's."""


def write(path: Path, world: World) -> None:
    """Replace the file atomically; what was there before survives a crash on the way."""
    book, clock = world.book, world.clock
    body: JsonObject = {
        "format": _FORMAT,
        "clock": {"offset_ms": clock.offset_ms, "frozen_at_ms": clock.frozen_at_ms},
        "next_id": book.next_id,
        "customers": [_row(customer) for customer in book.customers.values()],
        "transactions": [_transaction_row(transaction) for transaction in book.transactions.values()],
        "authorizations": [_row(authorization) for authorization in book.authorizations.values()],
        "users": cast("JsonObject", book.users),
        "orders": cast("JsonObject", book.orders),
        "charge_plans": [_row(plan) for plan in book.charge_plans],
        "refunds": [_row(refund) for refund in book.refunds.values()],
        "deliveries": [_delivery_row(delivery) for delivery in book.deliveries.values()],
        "counters": cast("JsonObject", dict(book.counters)),
    }
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(dump(body))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    book.dirty = False


def read(path: Path, *, seed: int | None) -> tuple[Book, Clock]:
    """Read a book and its clock back.

    Raises:
        UnusableSnapshotError: if the file is none of ours.

    """
    try:
        # The file is our own writing: its rows are trusted to have the fields of the dataclasses.
        body = cast("Any", load(path.read_bytes()))
        if body["format"] != _FORMAT:
            message = f"format {body['format']} is not {_FORMAT}"
            raise UnusableSnapshotError(message)
        # Past ids and codes must not come again, so a seed only rules a book that starts empty.
        book = Book(seed=None if seed is None else hash((seed, body["next_id"])))
        for row in body["customers"]:
            book.add_customer(Customer(**row))
        for row in body["transactions"]:
            planned = row.pop("planned")
            row["planned"] = None if planned is None else Planned(**planned)
            book.add_transaction(Transaction(**row | {"page": PageState(**row["page"])}))
        for row in body["deliveries"]:
            attempts = [Attempt(**attempt) for attempt in row.pop("attempts")]
            book.deliveries[row["id"]] = Delivery(**row, attempts=attempts)
        for row in body["authorizations"]:
            book.add_authorization(Authorization(**row))
        book.users, book.orders = body["users"], body["orders"]
        book.charge_plans = [ChargePlan(**row) for row in body["charge_plans"]]
        for row in body["refunds"]:
            book.add_refund(Refund(**row))
        book.counters = Counter(body["counters"])
        book.next_id = body["next_id"]
        book.dirty = False
        return book, Clock(**body["clock"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{path} is no data file of this sandbox: {error}"
        raise UnusableSnapshotError(message) from error


async def keep_writing(path: Path, world: World) -> None:
    """Write whenever something changed, until cancelled; what could not be written is tried again."""
    pause = _EVERY_SECONDS
    while True:
        await asyncio.sleep(pause)
        if world.book.dirty:
            started = time.monotonic()
            try:
                write(path, world)
            except OSError:
                logger.exception("the data file could not be written")
            pause = max(_EVERY_SECONDS, _PAUSE_PER_WRITE * (time.monotonic() - started))


def _row(record: DataclassInstance) -> JsonObject:
    # dataclasses.asdict copies deeply, which costs ten times as much as what is needed here.
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _transaction_row(transaction: Transaction) -> Json:
    planned = transaction.planned
    return {
        **_row(transaction),
        "planned": None if planned is None else _row(planned),
        "page": _row(transaction.page),
    }


def _delivery_row(delivery: Delivery) -> Json:
    return {**_row(delivery), "attempts": [_row(attempt) for attempt in delivery.attempts]}
