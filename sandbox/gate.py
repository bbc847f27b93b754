"""What every API call passes on its way in and out: counters, the key, rate limits, faults."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.answers import Answer, RefusalError, invalid_key, live_key_refused
from sandbox.book import Transaction
from sandbox.wire import Json, JsonObject, UnreadableBodyError, read_object
from sandbox.world import WORLD, World

_LIVE_PREFIX = "sk_live_"
# SO_LINGER on, 0 seconds: closing then sends a reset at once instead of an orderly end.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Call:
    """One API call, read."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: JsonObject


# An endpoint does all its work in one go, so that two calls can never see each other half done.
Endpoint = Callable[[World, Call], Answer]


def guarded(name: str, template: str, endpoint: Endpoint, *, of_paystack: bool = True) -> Handler:
    """Wrap an endpoint into an aiohttp handler; ``name`` is what faults and rate limits call it.

    What is not Paystack's needs no key and knows no rate limits.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        world = request.app[WORLD]
        world.book.counters[f"{request.method} {template}"] += 1
        headers: dict[str, str] = {}
        try:
            if of_paystack:
                _check_key(world, request.headers.get("Authorization", ""))
            call = await _read(request)
            if of_paystack and world.settings.rate_limits is not None:
                headers = world.limits.take(name, world.settings.rate_limits)
            if world.faults.rules:
                return await _struck(request, world, name, endpoint, call)
            answer = endpoint(world, call)
        except RefusalError as refusal:
            answer = refusal.answer()
        return _response(answer, headers)

    return handle


def _check_key(world: World, authorization: str) -> None:
    scheme, _, key = authorization.partition(" ")
    key = key.strip()
    if key.startswith(_LIVE_PREFIX):
        raise live_key_refused()
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        key.encode("utf-8", "replace"), world.options.secret_key.encode()
    ):
        raise invalid_key()


async def _read(request: web.Request) -> Call:
    body: JsonObject = {}
    if request.method != "GET":
        try:
            body = read_object(await request.read(), request.content_type)
        except UnreadableBodyError as error:
            raise RefusalError(400, "Invalid request body") from error
    return Call(request.match_info, request.query, body)


async def _struck(request: web.Request, world: World, name: str, endpoint: Endpoint, call: Call) -> web.StreamResponse:
    """Carry out a call while rules are in force that may spoil it."""
    reference, amount = _subject(world, call)
    latency_ms, rule = world.faults.strike(name, reference=reference, amount=amount)
    if latency_ms > 0:
        # A slow network is slow in real time, whatever the sandbox's clock shows.
        await asyncio.sleep(latency_ms / 1000)
    if rule is None:
        return _response(endpoint(world, call), {})
    if rule.after_effect:
        # A refusal is lost with the answer.
        with contextlib.suppress(RefusalError):
            endpoint(world, call)
    match rule.kind:
        case "reset":
            _reset(request)
            return web.Response()
        case "lost_answer":
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        case "latency" | "error" | "rate_limited" | "garbage":
            return _response(rule.answer(), {})


def _subject(world: World, call: Call) -> tuple[str | None, int | None]:
    """Tell which payment a call is about, for rules that want only one."""
    given: Json = call.path.get("reference") or call.body.get("reference")
    amount = call.body.get("amount")
    if isinstance(amount, str) and amount.isascii() and amount.isdigit():
        amount = int(amount[:20])
    known = _payment_of(world, call)
    if known is not None:
        return known.reference, known.requested_amount
    return (
        given if isinstance(given, str) else None,
        int(amount) if isinstance(amount, int | float) else None,
    )


def _payment_of(world: World, call: Call) -> Transaction | None:
    """Find the payment that a call names, or whose refund it names."""
    named = next(iter(call.path.values()), None) or call.query.get("transaction") or call.body.get("transaction")
    if not isinstance(named, str | int):
        return None
    refund = world.book.find_refund(str(named))
    return world.book.find(str(named)) if refund is None else world.book.transactions[refund.transaction_id]


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _response(answer: Answer, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers={**answer.headers, **headers})
