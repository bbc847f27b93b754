"""The Flask application and its composition root."""

from __future__ import annotations

import atexit
import re
import secrets

from flask import Flask, g, request

from db.cache import Cache
from db.connection import Database
from db.sealing import Seal
from domain.settings import Settings, load
from ingress.auth import Authenticator
from ingress.callback import callback_blueprint
from ingress.checkout import checkout_blueprint
from ingress.envelope import register_error_handlers
from ingress.health import health_blueprint
from ingress.history import history_blueprint
from ingress.limits import CustomerLimits
from ingress.methods import methods_blueprint
from ingress.overdue import OverdueLooks
from ingress.payments import payments_blueprint
from ingress.reference import reference_blueprint
from ingress.refunds import refunds_blueprint
from ingress.verification import verification_blueprint
from ingress.waiting import WaitingRoom
from ingress.webhooks import webhooks_blueprint

_BODY_BYTES_MAX = 64 * 1024
_WAITING_PLACES = 8  # half of the request threads of a process; the others stay free for those who do not wait
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, version 00


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; granian calls this once in each of its processes, after the fork.

    Raises:
        SettingsError: the environment does not describe a service that could run.

    """
    settings = settings or load()
    redis_url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    cache = Cache(redis_url, methods_seconds=settings.redis_ttl_default)
    database = Database(
        settings.database_url.get_secret_value(),
        minimum=settings.database_pool_min,
        maximum=settings.database_pool_max,
        name="web",
        cache=cache,
    ).__enter__()
    atexit.register(database.__exit__)
    seal = Seal(settings.encryption_key)
    app = Flask("payfleet", static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would be the one answer outside the envelope
    app.config["MAX_CONTENT_LENGTH"] = _BODY_BYTES_MAX
    app.before_request(_identify_request)
    register_error_handlers(app)
    app.register_blueprint(health_blueprint(database))
    app.register_blueprint(reference_blueprint())
    room = WaitingRoom(database, _WAITING_PLACES)
    limits = CustomerLimits(settings)
    authenticator = Authenticator(settings, limits)
    overdue = OverdueLooks()
    app.register_blueprint(
        payments_blueprint(
            database,
            seal,
            authenticator,
            limits=limits,
            waiting_room=room,
            features=settings.features,
            overdue=overdue,
        )
    )
    app.register_blueprint(methods_blueprint(database, seal, authenticator, waiting_room=room, cache=cache))
    app.register_blueprint(history_blueprint(database, authenticator, cache))
    app.register_blueprint(refunds_blueprint(database, authenticator, room))
    app.register_blueprint(verification_blueprint(database, authenticator, room, overdue))
    app.register_blueprint(checkout_blueprint(database, settings.features, settings.paystack_public_key))
    app.register_blueprint(callback_blueprint(database, room, settings.paystack_callback_url))
    app.register_blueprint(webhooks_blueprint(database, seal, settings.paystack_secret_key.get_secret_value().encode()))
    return app


def _identify_request() -> None:
    """Give the request its id, the caller's own if it sent a usable one: it follows the payment through every log."""
    environ = request.environ
    given = environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if given and _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(10)}"
    trace = environ.get("HTTP_TRACEPARENT", "")
    g.trace_context = trace if trace and _TRACEPARENT.fullmatch(trace) else None
