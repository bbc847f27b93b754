"""`/health`: this process lives. `/ready`: it can serve, because what it depends on answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from db.clock import get_now
from ingress.envelope import answer

if TYPE_CHECKING:
    from db.connection import Database


def health_blueprint(database: Database) -> Blueprint:
    """Make the routes. RabbitMQ, Redis and Paystack are no dependencies here: accepting goes on without them."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> Response:
        return answer({"status": "alive"})

    @routes.get("/ready")
    def ready() -> Response:
        with database.connection() as connection:
            get_now(connection)  # fails as well when the migrations have not run
        return answer({"status": "ready", "postgres": "up"})

    return routes
