"""`GET /checkout`: what a shop's page needs to offer paying: the public key, the currencies, and their ways to pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from db import currencies
from domain.channels import Features, available_channels
from ingress.envelope import answer

if TYPE_CHECKING:
    from db.connection import Database
    from db.currencies import CurrencyDetails

# Nothing here is anybody's secret, and it is a shop's page, on another host, that asks.
_HEADERS = {"Access-Control-Allow-Origin": "*"}


def checkout_blueprint(database: Database, features: Features, public_key: str | None) -> Blueprint:
    """Make the route."""
    routes = Blueprint("checkout", __name__)

    @routes.get("/checkout")
    def show_checkout() -> Response:
        with database.connection() as connection:
            active = currencies.get_active_currencies(connection)
        offered = [_render(details, features) for details in active if available_channels(details.code, features)]
        return answer({"publicKey": public_key, "currencies": offered}, headers=_HEADERS)

    return routes


def _render(details: CurrencyDetails, features: Features) -> dict[str, Any]:
    return {
        "code": details.code.value,
        "name": details.name,
        "symbol": details.symbol,
        "subunit": details.subunit,
        "minAmount": details.limits.min_amount,
        "maxAmount": details.limits.max_amount,
        "channels": [channel.value for channel in available_channels(details.code, features)],
    }
