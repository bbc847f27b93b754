"""The page at /_sandbox/ that lists the book for people: newest first, and the clock to move."""

from __future__ import annotations

import secrets
from itertools import islice

from aiohttp import web

from sandbox.clock import iso
from sandbox.pages import money, render
from sandbox.transactions import authorization_url
from sandbox.world import WORLD

# The rest is in /_sandbox/book; a page of thousands helps nobody.
_ROWS_MAX = 100


def routes() -> list[web.RouteDef]:
    """List the page's routes."""
    return [
        web.get("/", _redirect),
        web.get("/_sandbox", _redirect),
        web.get("/_sandbox/", _show),
        web.get("/favicon.ico", _no_icon),
    ]


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/_sandbox/")


async def _no_icon(_request: web.Request) -> web.Response:
    # Browsers ask by themselves, and it should not count as a call of the API.
    return web.Response(status=204)


async def _show(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    book = world.book
    nonce = secrets.token_urlsafe(12)
    transactions = [
        {
            "row": row,
            "amount": money(row.amount, row.currency),
            "email": book.customers[row.customer_id].email,
            "created": iso(row.created_at),
            "url": authorization_url(world, row),
        }
        for row in islice(reversed(book.transactions.values()), _ROWS_MAX)
    ]
    refunds = [
        {
            "row": row,
            "transaction": book.transactions[row.transaction_id],
            "amount": money(row.amount, book.transactions[row.transaction_id].currency),
            "created": iso(row.created_at),
        }
        for row in islice(reversed(book.refunds.values()), _ROWS_MAX)
    ]
    deliveries = [
        {
            "row": row,
            "last": row.attempts[-1] if row.attempts else None,
            "next": None if row.next_at_ms is None else iso(row.next_at_ms),
        }
        for row in islice(reversed(book.deliveries.values()), _ROWS_MAX)
    ]
    text = render(
        "book.html",
        nonce=nonce,
        now=iso(world.clock.now_ms()),
        mode=world.clock.mode,
        offset_seconds=world.clock.offset_ms / 1000,
        transactions=transactions,
        transaction_count=len(book.transactions),
        refunds=refunds,
        refund_count=len(book.refunds),
        deliveries=deliveries,
        delivery_count=len(book.deliveries),
        faults=list(world.faults.rules.values()),
        counters=sorted(book.counters.items()),
        settings=world.settings.as_json(),
    )
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
    return web.Response(
        text=text,
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Content-Security-Policy": policy},
    )
