"""The hosted checkout page: plain forms, one step each, that work without JavaScript."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from sandbox.book import Transaction
from sandbox.cards import TEST_CARDS
from sandbox.channels import LABELS, playable
from sandbox.pages import money, render
from sandbox.payments import start_log
from sandbox.steps import (
    EFT_ACCOUNTS,
    PROVIDERS,
    TEST_BANK,
    TEST_BANK_ACCOUNT,
    USSD_CODES,
    FormProblemError,
    take,
)
from sandbox.wire import Json
from sandbox.world import WORLD, World

# Test wallets by currency, as (provider, number, what it shows).
_WALLET_HINTS: dict[str, tuple[str, str]] = {
    "GHS": ("mtn", "0551234987"),
    "KES": ("mpesa", "+254710000000"),
    "XOF": ("orange", "0700000000"),
}
_FORM_FIELD_MAX = 200


def routes() -> list[web.RouteDef]:
    """List the routes of the page."""
    return [
        web.get("/checkout/{access_code}", show),
        web.post("/checkout/{access_code}", post),
        web.get("/checkout/{access_code}/done", done),
        web.get("/checkout/{access_code}/state", state),
    ]


async def show(request: web.Request) -> web.Response:
    """Show where the payment stands; ``?channel=`` picks a way to pay, ``?fill=`` a test card."""
    world = request.app[WORLD]
    transaction = _find(world, request)
    if transaction is None:
        return _message(world, None, "unknown", status=404)
    transaction.ip_address = request.remote
    start_log(world, transaction, mobile="Mobi" in request.headers.get("User-Agent", ""))
    return _page(world, transaction, request.query)


async def post(request: web.Request) -> web.Response:
    """Take one step and go back to the page, so that a reload never repeats it."""
    world = request.app[WORLD]
    transaction = _find(world, request)
    if transaction is None:
        return _message(world, None, "unknown", status=404)
    form = {name: value[:_FORM_FIELD_MAX] for name, value in (await request.post()).items() if isinstance(value, str)}
    page = transaction.page
    here = request.path
    # A form from an earlier turn was sent twice or comes from an old tab: show what is true now.
    if _expired(world, transaction) or form.get("turn", str(page.turn)) != str(page.turn):
        raise web.HTTPSeeOther(here)
    action = form.get("action", "")
    try:
        take(world, transaction, action, form)
    except FormProblemError as problem:
        return _page(world, transaction, form | {"channel": action}, problem=problem)
    if transaction.paid:
        raise web.HTTPSeeOther(f"{here}/done")
    if page.cancelled and (address := _cancel_address(transaction)) is not None:
        raise web.HTTPSeeOther(address)
    raise web.HTTPSeeOther(f"{here}?{urlencode({'channel': page.channel})}" if page.error else here)


async def done(request: web.Request) -> web.Response:
    """Show success for a moment, then lead back to the merchant."""
    world = request.app[WORLD]
    transaction = _find(world, request)
    if transaction is None or not transaction.paid:
        raise web.HTTPSeeOther(request.path.removesuffix("/done"))
    transaction.page.step = "choose"
    return _message(world, transaction, "success")


async def state(request: web.Request) -> web.Response:
    """Tell the page's script whether the money has arrived."""
    world = request.app[WORLD]
    transaction = _find(world, request)
    if transaction is None:
        raise web.HTTPNotFound
    status = "success" if transaction.paid else transaction.status
    return web.json_response({"status": status, "step": transaction.page.step})


def return_address(world: World, transaction: Transaction) -> str | None:
    """Return the merchant's callback with ``trxref`` and ``reference`` added, None without one."""
    address = transaction.callback_url or world.settings.callback_url
    if address is None:
        return None
    parts = urlsplit(address)
    added = urlencode({"trxref": transaction.reference, "reference": transaction.reference})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def _find(world: World, request: web.Request) -> Transaction | None:
    return world.book.by_access_code.get(request.match_info["access_code"])


def _expired(world: World, transaction: Transaction) -> bool:
    timeout_ms = world.settings.session_timeout_seconds * 1000
    return timeout_ms > 0 and not transaction.paid and world.clock.now_ms() >= transaction.created_at + timeout_ms


def _cancel_address(transaction: Transaction) -> str | None:
    metadata = transaction.metadata
    address: Json = metadata.get("cancel_action") if isinstance(metadata, dict) else None
    if isinstance(address, str) and address.lower().startswith(("http://", "https://")):
        return address
    return None


def _page(
    world: World,
    transaction: Transaction,
    given: Mapping[str, str],
    *,
    problem: FormProblemError | None = None,
) -> web.Response:
    page = transaction.page
    if transaction.paid:
        if page.step == "waiting":
            raise web.HTTPSeeOther(f"./{transaction.access_code}/done")
        return _message(world, transaction, "paid")
    if _expired(world, transaction):
        return _message(world, transaction, "expired", status=410)
    if page.step == "ended":
        return _message(world, transaction, "ended")
    if page.cancelled:
        return _message(world, transaction, "cancelled")
    channels = playable(transaction.currency, transaction.channels)
    if not channels:
        return _message(world, transaction, "no_channel")
    channel = given.get("channel") or page.channel or channels[0]
    if page.step != "choose":
        channel = page.channel or channel
    if channel not in channels:
        channel = channels[0]
    return _html(
        "checkout.html",
        status=200 if problem is None else 422,
        world=world,
        transaction=transaction,
        page=page,
        channel=channel,
        channels=[(name, LABELS[name]) for name in channels],
        amount=money(transaction.amount, transaction.currency),
        values=_values(transaction, channel, given),
        problem_field=None if problem is None else problem.field,
        problem=None if problem is None else str(problem),
        test_cards=TEST_CARDS,
        providers=PROVIDERS.get(transaction.currency, {}),
        ussd_codes=USSD_CODES,
        eft_accounts=EFT_ACCOUNTS,
        test_bank=TEST_BANK,
        test_account=TEST_BANK_ACCOUNT,
        wallet=_WALLET_HINTS.get(transaction.currency),
        frozen=world.clock.mode == "frozen",
    )


def _values(transaction: Transaction, channel: str, given: Mapping[str, str]) -> dict[str, str]:
    """Work out what the form shows: what was typed before a problem, or the test data asked for."""
    values = {name: given.get(name, "") for name in ("number", "expiry", "cvv", "account", "phone", "bank")}
    values["provider"] = given.get("provider", "")
    fill = given.get("fill", "")
    if not fill:
        return values
    match channel:
        case "card" if fill.isascii() and fill.isdigit() and int(fill[:3]) < len(TEST_CARDS):
            card = TEST_CARDS[int(fill[:3])]
            values |= {"number": _grouped(card.number), "expiry": "12 / 30", "cvv": card.cvv}
        case "bank":
            values["account"] = TEST_BANK_ACCOUNT
        case "eft" if fill in EFT_ACCOUNTS:
            values["account"] = fill
        case "mobile_money":
            provider, phone = _WALLET_HINTS.get(transaction.currency, ("", ""))
            values |= {"provider": provider, "phone": phone}
        case _:
            pass
    return values


def _grouped(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _message(world: World, transaction: Transaction | None, kind: str, *, status: int = 200) -> web.Response:
    return _html(
        "message.html",
        status=status,
        kind=kind,
        world=world,
        transaction=transaction,
        amount="" if transaction is None else money(transaction.amount, transaction.currency),
        onward=None if transaction is None else return_address(world, transaction),
        frozen=False,
    )


def _html(template: str, *, status: int, **context: object) -> web.Response:
    nonce = secrets.token_urlsafe(12)
    return web.Response(
        status=status,
        text=render(template, nonce=nonce, **context),
        content_type="text/html",
        headers={
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
                " connect-src 'self'; img-src data:; base-uri 'none'"
            ),
        },
    )
