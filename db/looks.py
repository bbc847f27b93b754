"""Looks at Paystack that nobody asks for: when each undecided payment has its next, and having it made.

The time stands with the order that the payment holds. Both let go of each other when the payment ends.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from db import payments, verifications
from domain.jobs import JobKind, dedupe_key
from domain.looks import next_look_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Payment

# The job that opens a payment's transaction bears its id: as long as that works, there is nothing its customer could
# have paid. Found by "= ANY", for the reason in db/jobs.py.
_WITH_OPENING = """
SELECT order_id, payment_id, payfleet_now(), payment_id IN (
    SELECT id FROM jobs WHERE id = ANY(ARRAY(SELECT payment_id FROM overdue)) AND state <> 'dead')
FROM overdue
"""
_GET_OVERDUE = f"""
WITH overdue AS MATERIALIZED (
    SELECT order_id, payment_id FROM live_orders
    WHERE NOT paid AND look_at <= payfleet_now() ORDER BY look_at LIMIT %(limit)s
)
{_WITH_OPENING}
"""  # noqa: S608 - made of constants
_GET_OVERDUE_OF = f"""
WITH overdue AS MATERIALIZED (
    SELECT order_id, payment_id FROM live_orders WHERE order_id = %(order_id)s AND payment_id = %(payment_id)s
        AND look_at <= payfleet_now() - make_interval(secs => %(seconds)s)
)
{_WITH_OPENING}
"""  # noqa: S608 - too
_IS_ANY_OVERDUE = """
SELECT EXISTS (
    SELECT FROM live_orders WHERE NOT paid AND look_at <= payfleet_now() - make_interval(secs => %(seconds)s)
)
"""
_GET_NEXT = "SELECT look_at FROM live_orders WHERE order_id = %(order_id)s AND payment_id = %(payment_id)s"
_DROP_DEAD = """
DELETE FROM jobs WHERE id = ANY(ARRAY(
    SELECT id FROM jobs WHERE dedupe_key = ANY(%(keys)s::text[]) AND state = 'dead' FOR UPDATE SKIP LOCKED
))
"""
# Never earlier than another has said meanwhile. Whoever holds one of the rows just now is about to change what is true
# of it, and need not be waited for.
_LOOK_LATER = """
WITH later AS MATERIALIZED (
    SELECT o.order_id, given.look_at
    FROM unnest(%(order_ids)s::text[], %(payment_ids)s::uuid[], %(look_ats)s::timestamptz[])
        AS given (order_id, payment_id, look_at)
    JOIN live_orders o USING (order_id, payment_id)
    WHERE o.order_id = ANY(%(order_ids)s::text[]) AND o.look_at < given.look_at
    ORDER BY o.order_id FOR UPDATE OF o SKIP LOCKED
)
UPDATE live_orders o SET look_at = later.look_at
FROM later WHERE o.order_id = ANY(%(order_ids)s::text[]) AND o.order_id = later.order_id
"""
_PAUSE_WITHOUT_PAYMENT = timedelta(days=1)  # a person is told of it: the look's job is dead at once


class _Overdue(NamedTuple):
    """A payment whose look is overdue at this instant of the database's clock."""

    order_id: str
    payment_id: UUID
    at: datetime
    is_being_opened: bool


def request_overdue_looks(connection: Connection, *, limit: int, correlation_id: str) -> int:
    """Have Paystack asked about the payments whose look has been due for longest; returns how many were due."""
    overdue = [_Overdue(*row) for row in connection.execute(_GET_OVERDUE, {"limit": limit}).fetchall()]
    found = payments.get_payments(connection, [one.payment_id for one in overdue])
    _request(connection, overdue, found, correlation_id)
    return len(overdue)


def request_look_if_overdue(connection: Connection, payment: Payment, *, seconds: float, correlation_id: str) -> bool:
    """Have Paystack asked about an undecided payment whose look has been due for these seconds; whether it has."""
    parameters = {"order_id": payment.order_id, "payment_id": payment.id, "seconds": seconds}
    overdue = [_Overdue(*row) for row in connection.execute(_GET_OVERDUE_OF, parameters).fetchall()]
    _request(connection, overdue, {payment.id: payment}, correlation_id)
    return bool(overdue)


def is_any_overdue(connection: Connection, *, seconds: float) -> bool:
    """Whether any look has been due for more than these seconds: nobody makes them, or they are too many."""
    return connection.execute(_IS_ANY_OVERDUE, {"seconds": seconds}).fetchall()[0][0]


def get_next_look(connection: Connection, payment: Payment) -> datetime | None:
    """Read when an undecided payment has its next look; None when nobody has planned one."""
    row = connection.execute(_GET_NEXT, {"order_id": payment.order_id, "payment_id": payment.id}).fetchone()
    return None if row is None else row[0]


def _request(
    connection: Connection, overdue: Sequence[_Overdue], found: Mapping[UUID, Payment], correlation_id: str
) -> None:
    """Request the looks, then move their times on.

    Where each statement commits by itself, whoever dies in between has the looks requested once more, and the second
    request joins the first.
    """
    if not overdue:
        return
    wanted = [one.payment_id for one in overdue if _is_worth_a_look(one, found.get(one.payment_id))]
    # A look that was given up is made anew, in its turn: it does no harm, and what kept it from Paystack may be over.
    keys = [dedupe_key(JobKind.VERIFY_PAYMENT, payment_id) for payment_id in wanted]
    connection.execute(_DROP_DEAD, {"keys": keys})
    for payment_id in wanted:
        verifications.request_look(connection, payment_id, correlation_id=correlation_id)
    later = {
        "order_ids": [one.order_id for one in overdue],
        "payment_ids": [one.payment_id for one in overdue],
        "look_ats": [one.at + _pause(one, found.get(one.payment_id)) for one in overdue],
    }
    connection.execute(_LOOK_LATER, later)


def _is_worth_a_look(one: _Overdue, payment: Payment | None) -> bool:
    return not one.is_being_opened or payment is None or one.at >= payment.created_at + payment.patience


def _pause(one: _Overdue, payment: Payment | None) -> timedelta:
    if payment is None:
        return _PAUSE_WITHOUT_PAYMENT
    return next_look_after(one.at - payment.created_at, payment.patience)
