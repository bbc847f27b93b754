"""Everything a use case may touch, in one frozen bundle made by the composition root."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.services import Services

if TYPE_CHECKING:
    from db.connection import Database
    from db.sealing import Seal
    from jobs.calls import GatewayThreads
    from jobs.paystack.client import Paystack


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The database, the gateway, and the few settings that use cases need.

    `resend_refunds` and `refund_duplicates` are ENABLE_REFUND_RESEND and ENABLE_DUPLICATE_REFUND.
    """

    database: Database
    seal: Seal
    paystack: Paystack
    gateway: GatewayThreads
    callback_url: str | None
    live: bool
    resend_refunds: bool
    refund_duplicates: bool
    services: Services = field(default_factory=Services)

    def jitter(self) -> float:
        """A number in [0, 1) that spreads retries."""
        return random.random()  # noqa: S311 - spreads load, keeps no secret
