"""What a charge of a saved authorization does: who may make it, and how it goes."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

from sandbox.answers import authorization_invalid, authorization_mismatch, missing
from sandbox.book import Authorization, Book, ChargePlan, Planned, Transaction
from sandbox.instruments import saved_instrument
from sandbox.payments import decline, plan
from sandbox.settings import InvalidSettingError, mapping, text, whole
from sandbox.shapes import IN_PROGRESS
from sandbox.steps import ask, begin
from sandbox.wire import Json, JsonObject
from sandbox.world import World

Outcome: TypeAlias = Literal["success", "declined", "insufficient_funds", "challenged", "send_otp", "pending"]
OUTCOMES: tuple[Outcome, ...] = ("success", "declined", "insufficient_funds", "challenged", "send_otp", "pending")
_ENDS = ("success", "failed")
_REASONS = {"insufficient_funds": "Insufficient Funds"}


def chargeable(book: Book, code: Json, *, email: str) -> Authorization:
    """Find the authorization with this code, which is charged only with the address it was made with.

    Raises:
        RefusalError: 400, if it does not exist, belongs to somebody else, is not reusable or was deactivated.

    """
    if not isinstance(code, str) or not code:
        raise missing("Authorization code is required")
    found = book.authorizations.get(code)
    if found is None:
        raise authorization_invalid()
    owner = book.customers[found.customer_id]
    if owner.email != email.lower() or not found.active or found.details.get("reusable") is not True:
        raise authorization_mismatch()
    return found


def charge(
    world: World, transaction: Transaction, authorization: Authorization, *, at_least: int | None = None
) -> None:
    """Charge an authorization as the oldest plan for it says.

    A challenge and an OTP leave the transaction on its checkout page, at the step where the customer confirms.
    Where funds are insufficient, what there is is taken if it is ``at_least`` so much; None wants all or nothing.
    """
    planned = world.book.take_charge_plan(
        authorization_code=str(authorization.details["authorization_code"]),
        email=world.book.customers[authorization.customer_id].email,
    )
    instrument = saved_instrument(authorization)
    begin(world, transaction, str(instrument["channel"]))
    # A payment replaces it by an authorization of its own.
    transaction.authorization = authorization.details
    match cast("Outcome", planned.outcome):
        case "success":
            ask(world, transaction, instrument, [])
        case "challenged":
            ask(world, transaction, instrument, ["bank_page"])
        case "send_otp":
            ask(world, transaction, instrument, ["otp"])
        case "insufficient_funds" if at_least is not None and planned.available >= at_least:
            transaction.amount = min(transaction.amount, planned.available)
            ask(world, transaction, instrument, [])
        case "declined" | "insufficient_funds":
            decline(world, transaction, _reason(planned), status="failed")
        case "pending":
            _await_end(world, transaction, planned, instrument)


def read_plan(body: JsonObject) -> ChargePlan:
    """Read a plan as the control API takes it.

    Raises:
        InvalidSettingError: naming what is wrong with it.

    """
    names = {"outcome", "authorization_code", "email", "gateway_response", "available", "then", "delay_ms"}
    mapping("the planned charge", body, keys=names)
    code, email, response = body.get("authorization_code"), body.get("email"), body.get("gateway_response")
    return ChargePlan(
        outcome=_one_of("outcome", body.get("outcome"), OUTCOMES),
        authorization_code=None if code is None else text("authorization_code", code),
        email=None if email is None else text("email", email).lower(),
        gateway_response=None if response is None else text("gateway_response", response),
        available=whole("available", body.get("available", 0)),
        then=_one_of("then", body.get("then", "success"), _ENDS),
        delay_ms=whole("delay_ms", body.get("delay_ms", 5_000)),
    )


def _await_end(world: World, transaction: Transaction, planned: ChargePlan, instrument: JsonObject) -> None:
    transaction.page.step = "waiting"
    transaction.status, transaction.gateway_response = "pending", IN_PROGRESS
    at_ms = world.clock.now_ms() + planned.delay_ms
    reason = _reason(planned) if planned.then == "failed" else None
    plan(world, transaction, Planned(at_ms, instrument, "Approved", decline=reason))


def _reason(planned: ChargePlan) -> str:
    return planned.gateway_response or _REASONS.get(planned.outcome, "Declined")


def _one_of(name: str, value: Json, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InvalidSettingError(f"{name} must be one of {', '.join(known)}")
    return value
