"""Structured logs: one JSON object a line on standard error, without secrets whoever logs them."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# Paystack keys and authorization codes, bearer tokens, and whatever looks like a card number.
_SECRET = re.compile(r"\b(?:sk|pk)_(?:live|test)_\w+|\bAUTH_\w+|Bearer\s+\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]+|\b\d{13,19}\b")


def configure_logs(level: str) -> None:
    """Set logging up for this process; the standard library's loggers end in the same lines.

    Raises:
        KeyError: no such level.

    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer = structlog.processors.JSONRenderer(serializer=_dumps)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out what looks like a secret in any text of a log line."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _SECRET.sub("[redacted]", value)
    return event


def _dumps(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
