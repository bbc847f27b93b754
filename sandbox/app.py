"""The web application: every route, and what starts and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web

from sandbox import (
    authorizations,
    charges,
    checkout,
    control,
    control_page,
    customers,
    refunding,
    refunds,
    services,
    transactions,
)
from sandbox.answers import Answer, endpoint_not_built
from sandbox.cards import ADDRESS_FIELDS
from sandbox.gate import Call, Endpoint, guarded
from sandbox.payments import resume
from sandbox.snapshot import keep_writing, read, write
from sandbox.world import WORLD, Options, World, new_world

# Paystack takes no large bodies; this is far above any real request.
_BODY_BYTES_MAX = 1_048_576
API: tuple[tuple[str, str, str, Endpoint], ...] = (
    ("initialize", "POST", "/transaction/initialize", transactions.initialize),
    ("charge_authorization", "POST", "/transaction/charge_authorization", authorizations.charge_authorization),
    ("partial_debit", "POST", "/transaction/partial_debit", authorizations.partial_debit),
    ("verify", "GET", "/transaction/verify/{reference}", transactions.verify),
    ("list", "GET", "/transaction", transactions.list_transactions),
    ("totals", "GET", "/transaction/totals", transactions.totals),
    ("timeline", "GET", "/transaction/timeline/{id_or_reference}", transactions.timeline),
    ("fetch", "GET", "/transaction/{id}", transactions.fetch),
    ("charge", "POST", "/charge", charges.create),
    ("charge_submit_pin", "POST", "/charge/submit_pin", charges.submit("pin")),
    ("charge_submit_otp", "POST", "/charge/submit_otp", charges.submit("otp")),
    ("charge_submit_phone", "POST", "/charge/submit_phone", charges.submit("phone")),
    ("charge_submit_birthday", "POST", "/charge/submit_birthday", charges.submit("birthday")),
    ("charge_submit_address", "POST", "/charge/submit_address", charges.submit("address", *ADDRESS_FIELDS)),
    ("charge_check", "GET", "/charge/{reference}", charges.check),
    ("refund", "POST", "/refund", refunds.create),
    ("refund_list", "GET", "/refund", refunds.list_refunds),
    ("refund_fetch", "GET", "/refund/{id}", refunds.fetch),
    ("refund_retry", "POST", "/refund/retry_with_customer_details/{id}", refunds.retry),
    ("customer_create", "POST", "/customer", customers.create),
    ("customer_list", "GET", "/customer", customers.list_customers),
    ("customer_fetch", "GET", "/customer/{email_or_code}", customers.fetch),
    ("authorization_deactivate", "POST", "/customer/authorization/deactivate", authorizations.deactivate),
    ("authorization_deactivate", "POST", "/customer/deactivate_authorization", authorizations.deactivate),
    ("customer_update", "PUT", "/customer/{code}", customers.update),
)


def make_app(options: Options) -> web.Application:
    """Build the sandbox; its data file, if there is one, is read here.

    Raises:
        UnusableSnapshotError: if the data file is none of the sandbox's.

    """
    if options.data is not None and options.data.exists():
        book, clock = read(options.data, seed=options.seed)
        world = new_world(options, book=book, clock=clock)
    else:
        world = new_world(options)
    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app[WORLD] = world
    for name, method, template, endpoint in API:
        # Paystack takes a slash at the end as well, and there are clients that send one.
        for path in (template, f"{template}/"):
            app.router.add_route(method, path, guarded(name, template, endpoint))
    app.router.add_routes(checkout.routes())
    app.router.add_routes(control.routes())
    app.router.add_routes(services.routes())
    app.router.add_routes(control_page.routes())
    app.router.add_route("*", "/{path:.*}", guarded("*", "(unknown)", _unknown))
    app.cleanup_ctx.append(_running)
    return app


def _unknown(_world: World, _call: Call) -> Answer:
    raise endpoint_not_built()


async def _running(app: web.Application) -> AsyncGenerator[None, None]:
    world = app[WORLD]
    data = world.options.data
    if data is not None:
        # A file that cannot be written should be known now, not at the end.
        write(data, world)
    await world.webhooks.open()
    resume(world)
    refunding.resume(world)
    writer = None if data is None else asyncio.create_task(keep_writing(data, world))
    yield
    if writer is not None and data is not None:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
    await world.clock.stop()
    await world.webhooks.close()
    if data is not None:
        write(data, world)
