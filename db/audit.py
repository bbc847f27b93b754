"""The audit log: what people did to the ledger. Written in the transaction of the act, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from db.connection import Connection

_INSERT = """
INSERT INTO audit_log (id, at, actor, action, subject, details)
SELECT payfleet_uuid7(at), at, %(actor)s, act.action, act.subject, act.details
FROM (SELECT payfleet_now() AS at) AS clock,
    jsonb_to_recordset(%(acts)s) AS act (action text, subject text, details jsonb)
"""
_GET = """
SELECT at, actor, action, details FROM audit_log WHERE subject = %(subject)s ORDER BY id LIMIT %(limit)s
"""


class Action(StrEnum):
    """What was done."""

    JOB_RETRIED = "job.retried"
    """A dead job may run again."""
    JOB_GAVE_WAY = "job.gave_way"
    """A dead job was dropped when it was to be retried: a live one does the same work."""
    JOB_DISCARDED = "job.discarded"


@dataclass(frozen=True, slots=True)
class Act:
    """One act on one subject; the details hold what a later reader needs and cannot look up any more."""

    action: Action
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line of the log about some subject; `action` is plain text, since other releases write here too."""

    at: datetime
    actor: str
    action: str
    details: Mapping[str, Any]


def insert_acts(tx: Connection, acts: Sequence[Act], *, actor: str) -> None:
    """Put on record what is done in this transaction, and by whom."""
    if acts:
        records = [{"action": act.action, "subject": act.subject, "details": act.details} for act in acts]
        tx.execute(_INSERT, {"actor": actor, "acts": Jsonb(records)})


def get_acts_on(connection: Connection, subject: str, *, limit: int = 100) -> list[AuditEntry]:
    """Read what was done to a subject, oldest first."""
    rows = connection.execute(_GET, {"subject": subject, "limit": limit}).fetchall()
    return [AuditEntry(*row) for row in rows]
