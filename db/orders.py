"""The guard of orders: at most one live payment for each, and at most one that ever counts as having paid it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Payment

_GET_LIVE = "SELECT payment_id FROM live_orders WHERE order_id = %(order_id)s"
# Rows are taken in the order of their keys, so that batches cannot deadlock.
_PAY = """
INSERT INTO live_orders (order_id, payment_id, paid)
SELECT order_id, payment_id, true
FROM unnest(%(order_ids)s::text[], %(payment_ids)s::uuid[]) AS o (order_id, payment_id) ORDER BY order_id
ON CONFLICT (order_id) DO UPDATE SET payment_id = EXCLUDED.payment_id, paid = true
WHERE NOT live_orders.paid OR live_orders.payment_id = EXCLUDED.payment_id
"""
_GET_PAYERS = "SELECT order_id, payment_id FROM live_orders WHERE order_id = ANY(%(order_ids)s::text[])"
_RELEASE = """
DELETE FROM live_orders o
USING unnest(%(order_ids)s::text[], %(payment_ids)s::uuid[]) AS given (order_id, payment_id)
WHERE o.order_id = ANY(%(order_ids)s::text[]) AND o.order_id = given.order_id AND o.payment_id = given.payment_id
"""


def get_live_payment(connection: Connection, order_id: str) -> UUID | None:
    """Find the payment that holds an order."""
    row = connection.execute(_GET_LIVE, {"order_id": order_id}).fetchone()
    return None if row is None else row[0]


def pay_orders(tx: Connection, paid: Iterable[Payment]) -> dict[UUID, UUID]:
    """Let payments that succeed count as those that paid their orders, unless another one has paid it before.

    Returns:
        For each payment that came second, the payment that paid the order.

    """
    succeeding = list(paid)
    if not succeeding:
        return {}
    first = {payment.order_id: payment.id for payment in reversed(succeeding)}
    tx.execute(_PAY, {"order_ids": list(first), "payment_ids": list(first.values())})
    payers: dict[str, UUID] = dict(tx.execute(_GET_PAYERS, {"order_ids": list(first)}).fetchall())
    return {p.id: payers[p.order_id] for p in succeeding if payers[p.order_id] != p.id}


def release_orders(tx: Connection, over: Iterable[Payment]) -> None:
    """Let go of the orders of payments that are no longer live; an order that another payment holds stays held."""
    payments = list(over)
    parameters = {"order_ids": [p.order_id for p in payments], "payment_ids": [p.id for p in payments]}
    tx.execute(_RELEASE, parameters)
