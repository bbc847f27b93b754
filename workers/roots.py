"""The composition root of the worker side: settings in, the objects of a process out."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import structlog

from db.cache import Cache
from db.connection import Database
from db.sealing import Seal
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.services import Services
from workers.process import GATEWAY_THREADS

if TYPE_CHECKING:
    from collections.abc import Generator

    from domain.settings import Settings

_log = structlog.get_logger(__name__)


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


def make_paystack(settings: Settings) -> Paystack:
    """The account that the settings name; nothing is sent."""
    return Paystack(Transport(settings.paystack_base_url, settings.paystack_secret_key.get_secret_value()))


@contextmanager
def job_context(settings: Settings) -> Generator[JobContext]:
    """Everything the use cases touch, closed in the right order at the end."""
    with ExitStack() as stack:
        database = stack.enter_context(make_database(settings, "worker"))
        gateway = GatewayThreads(GATEWAY_THREADS)
        stack.callback(gateway.close)
        services = Services.of(settings)
        if services.off:
            _log.info("services.off", unset=services.off)
        yield JobContext(
            database=database,
            seal=Seal(settings.encryption_key),
            paystack=make_paystack(settings),
            gateway=gateway,
            callback_url=settings.paystack_callback_url,
            live=settings.is_live,
            resend_refunds=settings.enable_refund_resend,
            refund_duplicates=settings.enable_duplicate_refund,
            services=services,
        )
