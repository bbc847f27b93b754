"""The control API under /_sandbox: the book, the clock, faults, settings, payments and webhooks by hand."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import cast

from aiohttp import web

from sandbox import refund_shapes, refunding, shapes
from sandbox.answers import JSON_TYPE
from sandbox.book import Delivery, Refund, Transaction
from sandbox.cards import UNKNOWN_CARD, find_card
from sandbox.charging import read_plan
from sandbox.clock import iso
from sandbox.instruments import card_instrument
from sandbox.payments import decline, pay
from sandbox.settings import InvalidSettingError, changed, mapping, text, whole
from sandbox.transactions import authorization_url
from sandbox.wire import Json, JsonObject, UnreadableBodyError, dump, read_object
from sandbox.world import WORLD, World, new_world

_ADVANCE_SECONDS_MAX = 10 * 365 * 86_400
Control = Callable[[World, web.Request, JsonObject], Awaitable[Json]]


def routes() -> list[web.RouteDef]:
    """List the control routes that answer JSON."""
    return [
        web.get("/_sandbox/book", answering(_book)),
        web.get("/_sandbox/clock", answering(_clock)),
        web.post("/_sandbox/clock", answering(_move_clock)),
        web.get("/_sandbox/faults", answering(_list_faults)),
        web.post("/_sandbox/faults", answering(_add_fault)),
        web.delete("/_sandbox/faults", answering(_clear_faults)),
        web.delete("/_sandbox/faults/{id}", answering(_clear_faults)),
        web.get("/_sandbox/settings", answering(_settings)),
        web.post("/_sandbox/settings", answering(_change_settings)),
        web.post("/_sandbox/transactions/{reference}/pay", answering(_pay)),
        web.post("/_sandbox/refunds/{id}/settle", answering(_settle_refund)),
        web.get("/_sandbox/charges", answering(_list_charge_plans)),
        web.post("/_sandbox/charges", answering(_plan_charge)),
        web.delete("/_sandbox/charges", answering(_clear_charge_plans)),
        web.post("/_sandbox/webhooks", answering(_send_webhook)),
        web.post("/_sandbox/webhooks/{id}/resend", answering(_resend_webhook)),
        web.post("/_sandbox/reset", answering(_reset)),
    ]


class UnknownThingError(LookupError):
    """A control call names something that does not exist."""


def answering(control: Control) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap a control call into an aiohttp handler that answers JSON."""

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # No page of another site may steer a sandbox through the browser of who runs it.
            raise web.HTTPForbidden
        try:
            body = read_object(await request.read(), "application/json")
            status, answer = 200, await control(request.app[WORLD], request, body)
        except (InvalidSettingError, UnreadableBodyError) as error:
            status, answer = _refused(400, error)
        except UnknownThingError as error:
            status, answer = _refused(404, error)
        return web.Response(status=status, body=dump(answer), headers={"Content-Type": JSON_TYPE})

    return handle


def _refused(status: int, error: Exception) -> tuple[int, Json]:
    return status, {"error": str(error)}


async def _book(world: World, request: web.Request, _body: JsonObject) -> Json:
    """Show everything, or with ``?reference=`` what belongs to one transaction."""
    reference = request.query.get("reference")
    transactions: Iterable[Transaction] = world.book.transactions.values()
    refunds: Iterable[Refund] = world.book.refunds.values()
    deliveries: Iterable[Delivery] = world.book.deliveries.values()
    if reference is not None:
        found = world.book.by_reference.get(reference)
        transactions = [] if found is None else [found]
        refunds = [] if found is None else world.book.refunds_of(found)
        deliveries = [row for row in deliveries if row.reference == reference]
    return {
        "transactions": [transaction_row(world, row) for row in transactions],
        "refunds": [refund_shapes.fetched(world.book, row) for row in refunds],
        "deliveries": [delivery_row(row) for row in deliveries],
        "counters": dict(world.book.counters.items()),
    }


def transaction_row(world: World, transaction: Transaction) -> JsonObject:
    """Show a transaction as verify would, with what only the sandbox knows."""
    return {
        **shapes.verified(world.book, transaction),
        "access_code": transaction.access_code,
        "authorization_url": authorization_url(world, transaction),
        "refunded": refunding.refunded(world.book, transaction),
        "calls": {
            "initialize": transaction.initialize_calls,
            "charge": transaction.charge_calls,
            "verify": transaction.verify_calls,
        },
    }


def delivery_row(delivery: Delivery) -> JsonObject:
    """Show a webhook delivery with its tries; ``copy_of`` names the delivery it duplicates."""
    return {
        "id": delivery.id,
        "event": delivery.event,
        "reference": delivery.reference,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": [
            {"at": iso(attempt.at_ms), "status_code": attempt.status_code, "error": attempt.error}
            for attempt in delivery.attempts
        ],
        "next_at": None if delivery.next_at_ms is None else iso(delivery.next_at_ms),
        "copy_of": delivery.copy_of,
    }


async def _clock(world: World, _request: web.Request, _body: JsonObject) -> Json:
    return {
        "now": iso(world.clock.now_ms()),
        "mode": world.clock.mode,
        "offset_seconds": world.clock.offset_ms / 1000,
    }


async def _move_clock(world: World, request: web.Request, body: JsonObject) -> Json:
    """Freeze first, let run last, so that one call can advance a clock to an exact instant."""
    mapping("the clock", body, keys={"freeze", "advance_seconds"})
    freeze, seconds = body.get("freeze"), body.get("advance_seconds")
    if freeze not in (None, True, False):
        raise InvalidSettingError("freeze must be true or false")
    if seconds is not None and (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not math.isfinite(seconds)
        or not 0 <= seconds <= _ADVANCE_SECONDS_MAX
    ):
        raise InvalidSettingError("advance_seconds must be a number from 0 to ten years' worth")
    if freeze is True:
        await world.clock.freeze()
    if seconds is not None:
        await world.clock.advance(round(seconds * 1000))
    if freeze is False:
        await world.clock.run()
    return await _clock(world, request, body)


async def _list_faults(world: World, _request: web.Request, _body: JsonObject) -> Json:
    return {"faults": [rule.as_json() for rule in world.faults.rules.values()]}


async def _add_fault(world: World, _request: web.Request, body: JsonObject) -> Json:
    return world.faults.add(body).as_json()


async def _clear_faults(world: World, request: web.Request, _body: JsonObject) -> Json:
    wanted = request.match_info.get("id")
    if wanted is None:
        world.faults.rules.clear()
    elif not wanted.isdigit() or world.faults.rules.pop(int(wanted[:9]), None) is None:
        raise UnknownThingError(f"there is no fault {wanted}")
    return {"faults": [rule.as_json() for rule in world.faults.rules.values()]}


async def _settings(world: World, _request: web.Request, _body: JsonObject) -> Json:
    return world.settings.as_json()


async def _change_settings(world: World, _request: web.Request, body: JsonObject) -> Json:
    world.settings = changed(world.settings, body)
    return world.settings.as_json()


async def _pay(world: World, request: web.Request, body: JsonObject) -> Json:
    """Pay or fail a transaction without its page."""
    mapping("the payment", body, keys={"card", "outcome", "gateway_response", "amount", "currency"})
    transaction = world.book.by_reference.get(request.match_info["reference"])
    if transaction is None:
        raise UnknownThingError(f"there is no transaction {request.match_info['reference']}")
    outcome = body.get("outcome", "success")
    if outcome not in {"success", "failed", "abandoned"}:
        raise InvalidSettingError("outcome must be success, failed or abandoned")
    amount, currency = body.get("amount"), body.get("currency")
    response = body.get("gateway_response")
    card = find_card(text("card", body.get("card", "4084084084084081")))
    if outcome == "success" and (card is None or card.decline is not None):
        outcome = "abandoned" if card is None else card.declined_status
        response = response or (UNKNOWN_CARD if card is None else card.decline)
    if outcome != "success" or card is None:
        reason = text("gateway_response", response or "Declined")
        changed_now = decline(world, transaction, reason, status=outcome)
    else:
        changed_now = pay(
            world,
            transaction,
            card_instrument(card),
            gateway_response=text("gateway_response", response or "Successful"),
            amount=None if amount is None else whole("amount", amount),
            currency=None if currency is None else text("currency", currency),
        )
    return {"changed": changed_now, "transaction": transaction_row(world, transaction)}


async def _settle_refund(world: World, request: web.Request, body: JsonObject) -> Json:
    """End a refund now, whatever its card had in store for it."""
    mapping("the end of a refund", body, keys={"outcome"})
    refund = world.book.find_refund(request.match_info["id"])
    if refund is None:
        raise UnknownThingError(f"there is no refund {request.match_info['id']}")
    wanted = body.get("outcome", "processed")
    outcomes: list[refunding.Outcome] = [known for known in refunding.OUTCOMES if known == wanted]
    if not outcomes:
        raise InvalidSettingError(f"outcome must be one of {', '.join(refunding.OUTCOMES)}")
    changed_now = refunding.settle(world, refund, outcomes[0])
    return {"changed": changed_now, "refund": refund_shapes.fetched(world.book, refund)}


async def _list_charge_plans(world: World, _request: web.Request, _body: JsonObject) -> Json:
    return {"charges": [cast("JsonObject", asdict(plan)) for plan in world.book.charge_plans]}


async def _plan_charge(world: World, _request: web.Request, body: JsonObject) -> Json:
    """Decide how the next charge of a saved authorization will go."""
    plan = read_plan(body)
    world.book.charge_plans.append(plan)
    world.book.dirty = True
    return cast("JsonObject", asdict(plan))


async def _clear_charge_plans(world: World, request: web.Request, body: JsonObject) -> Json:
    world.book.charge_plans.clear()
    world.book.dirty = True
    return await _list_charge_plans(world, request, body)


async def _send_webhook(world: World, _request: web.Request, body: JsonObject) -> Json:
    """Send any event, signed, through the same path as all others."""
    mapping("the webhook", body, keys={"event", "data"})
    if world.settings.webhook_url is None:
        raise InvalidSettingError("no webhook_url is set")
    data = body.get("data")
    reference = data.get("reference") if isinstance(data, dict) else None
    made = world.webhooks.emit(
        text("event", body.get("event")), data, reference=reference if isinstance(reference, str) else None
    )
    return {"deliveries": [delivery_row(delivery) for delivery in made]}


async def _resend_webhook(world: World, request: web.Request, _body: JsonObject) -> Json:
    delivery = world.book.deliveries.get(request.match_info["id"])
    if delivery is None:
        raise UnknownThingError(f"there is no delivery {request.match_info['id']}")
    world.webhooks.resend(delivery)
    return delivery_row(delivery)


async def _reset(world: World, _request: web.Request, _body: JsonObject) -> Json:
    """Return to how the command line started it: an empty book, no faults, the machine's time."""
    await world.clock.forget()
    fresh = new_world(world.options, clock=world.clock)
    await fresh.webhooks.open()
    await world.webhooks.close()
    world.book, world.settings, world.faults = fresh.book, fresh.settings, fresh.faults
    world.limits, world.webhooks = fresh.limits, fresh.webhooks
    world.book.dirty = True
    return {"reset": True}
