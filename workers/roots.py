"""The composition root of the worker side: settings in, the objects of a process out."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import structlog

from db.cache import Cache
from db.connection import Database
from db.sealing import Seal
from domain.quotas import KEPT_FOR, Endpoint, Lane
from jobs.calls import GatewayThreads
from jobs.circuit import Circuit
from jobs.context import JobContext
from jobs.paystack.client import Paystack
from jobs.paystack.gate import PAYSTACK, Gate
from jobs.paystack.quota import Quota
from jobs.paystack.transport import Transport
from jobs.services import Services
from workers.process import GATEWAY_THREADS

if TYPE_CHECKING:
    from collections.abc import Generator

    from domain.settings import Settings

_log = structlog.get_logger(__name__)

_LOOKS_A_MINUTE_MAX = 3_000  # as many as the rounds find without falling behind


def make_database(settings: Settings, name: str) -> Database:
    """A pool of its own for one process."""
    redis_url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    return Database(
        settings.database_url.get_secret_value(),
        minimum=settings.database_pool_min,
        maximum=settings.database_pool_max,
        name=name,
        cache=Cache(redis_url),
    )


def make_paystack(settings: Settings, database: Database) -> Paystack:
    """The Paystack account of the settings, behind its circuit breaker and its quotas."""
    secret_key = settings.paystack_secret_key.get_secret_value()
    transport = Transport(settings.paystack_base_url, secret_key)
    return Paystack(transport, Gate(Circuit(database, PAYSTACK), make_quota(settings)))


def make_quota(settings: Settings) -> Quota:
    """The quotas of the settings' Paystack account, counted in Redis under a name that tells nothing of its key."""
    redis_url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    account = hashlib.sha256(settings.paystack_secret_key.get_secret_value().encode()).hexdigest()[:16]
    return Quota(redis_url, settings.rate_limits, account=account)


@contextmanager
def job_context(settings: Settings) -> Generator[JobContext]:
    """Everything the use cases touch, closed in the right order at the end."""
    with ExitStack() as stack:
        database = stack.enter_context(make_database(settings, "worker"))
        gateway = GatewayThreads(GATEWAY_THREADS)
        stack.callback(gateway.close)
        services = Services.of(settings, database)
        if services.off:
            _log.info("services.off", unset=services.off)
        yield JobContext(
            database=database,
            seal=Seal(settings.encryption_key),
            paystack=make_paystack(settings, database),
            gateway=gateway,
            callback_url=settings.paystack_callback_url,
            live=settings.is_live,
            resend_refunds=settings.enable_refund_resend,
            refund_duplicates=settings.enable_duplicate_refund,
            services=services,
        )


def looks_a_minute(settings: Settings) -> int:
    """How many payments a minute Paystack may be asked about unasked: what is kept of its quota for such questions."""
    kept = settings.rate_limits[Endpoint.VERIFY] * KEPT_FOR[Endpoint.VERIFY][Lane.VERIFICATION]
    return min(int(kept), _LOOKS_A_MINUTE_MAX)
