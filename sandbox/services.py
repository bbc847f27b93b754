"""Stand-ins for the merchant's own User and Order Service, told by the control API what to answer."""

from __future__ import annotations

from aiohttp import web

from sandbox.answers import Answer, plain
from sandbox.control import answering
from sandbox.gate import Call, guarded
from sandbox.settings import InvalidSettingError, mapping, text, whole
from sandbox.wire import Json, JsonObject
from sandbox.world import World

_ORDER_STATUSES = ("open", "paid", "cancelled")


def routes() -> list[web.RouteDef]:
    """List what is served to the merchant's other programs, and what tells the stand-ins their answers."""
    user, order = "/services/users/{id}", "/services/orders/{id}"
    return [
        web.get(user, guarded("service_user", user, _user, of_paystack=False)),
        web.get(order, guarded("service_order", order, _order, of_paystack=False)),
        web.put("/_sandbox/services/users/{id}", answering(_put_user)),
        web.put("/_sandbox/services/orders/{id}", answering(_put_order)),
    ]


def _user(world: World, call: Call) -> Answer:
    """Tell who a user is; whoever is not known is active, unless a setting says that all are known."""
    user_id = call.path["id"]
    assumed: JsonObject | None = None
    if world.settings.services_know_all_users:
        assumed = {"userId": user_id, "status": "active"}
    return _found(world.book.users.get(user_id, assumed), f"there is no user {user_id}")


def _order(world: World, call: Call) -> Answer:
    order_id = call.path["id"]
    return _found(world.book.orders.get(order_id), f"there is no order {order_id}")


def _found(known: JsonObject | None, otherwise: str) -> Answer:
    return plain(404, {"error": otherwise}) if known is None else plain(200, known)


async def _put_user(world: World, request: web.Request, body: JsonObject) -> Json:
    mapping("a user", body, keys={"status", "email"})
    user_id, email = request.match_info["id"], body.get("email")
    user: JsonObject = {"userId": user_id, "status": text("status", body.get("status", "active"))}
    if email is not None:
        user["email"] = text("email", email)
    world.book.users[user_id] = user
    world.book.dirty = True
    return user


async def _put_order(world: World, request: web.Request, body: JsonObject) -> Json:
    mapping("an order", body, keys={"userId", "amount", "currency", "status"})
    order_id, user_id = request.match_info["id"], body.get("userId")
    status = body.get("status", "open")
    if status not in _ORDER_STATUSES:
        raise InvalidSettingError(f"status must be one of {', '.join(_ORDER_STATUSES)}")
    order: JsonObject = {
        "orderId": order_id,
        "amount": whole("amount", body.get("amount")),
        "currency": text("currency", body.get("currency")),
        "status": status,
    }
    if user_id is not None:
        order["userId"] = text("userId", user_id)
    world.book.orders[order_id] = order
    world.book.dirty = True
    return order
