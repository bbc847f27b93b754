"""The servers of a campaign: a database and a virtual host of its own, made for it and gone afterwards."""

import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from db.migrate import migrate
from db.sealing import new_key
from ops.embedded.ports import LOOPBACK, free_port
from tests import services

# What a campaign decides itself must not be overruled by the shell it runs in.
_OURS = ("DATABASE_READ_REPLICA_URL", "JWT_PUBLIC_KEY", "JWT_ISSUER", "JWT_AUDIENCE", "PAYSTACK_CALLBACK_URL")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where one campaign plays: the servers' addresses, the processes' environment, and a folder for their logs."""

    database_url: str
    rabbitmq_url: str
    web_port: int
    sandbox_port: int
    state: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def webhook_url(self) -> str:
        """Where the sandbox sends its events."""
        return f"http://{LOOPBACK}:{self.web_port}/webhooks/paystack"

    @property
    def secret_key(self) -> str:
        """The Paystack key of this campaign."""
        return self.environment["PAYSTACK_SECRET_KEY"]


@contextmanager
def fresh_stage(state: Path) -> Generator[Stage]:
    """Empty servers for one campaign, so that none is slowed down by what another left behind."""
    with (
        services.postgres(os.environ) as postgres,
        services.fresh_database(postgres) as database_url,
        services.private_vhost(services.rabbitmq(os.environ)) as rabbitmq_url,
        services.redis_server(os.environ) as redis,
    ):
        migrate(database_url)
        web_port, sandbox_port = free_port(), free_port()
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        environment |= {
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": rabbitmq_url,
            "REDIS_URL": redis.url,
            "PORT": str(web_port),
            "PAYSTACK_SECRET_KEY": f"sk_test_{secrets.token_hex(8)}",
            "PAYSTACK_BASE_URL": f"http://{LOOPBACK}:{sandbox_port}",
            "PAYSTACK_RATE_LIMITS": "all=1000000",
            "JWT_SECRET": secrets.token_urlsafe(48),
            "ENCRYPTION_KEY": new_key(),
            "LOG_LEVEL": "info",
        }
        yield Stage(
            database_url=database_url,
            rabbitmq_url=rabbitmq_url,
            web_port=web_port,
            sandbox_port=sandbox_port,
            state=Path(tempfile.mkdtemp(prefix="stage-", dir=state)),
            environment=environment,
        )
