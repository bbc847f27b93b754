"""`GET /payments/user/{userId}` and `GET /payments/{id}/history`: what was, and what comes next."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from flask import Blueprint, Response, request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from db import history, looks, refunds
from db.cache import CacheKind
from db.history import HistoryFilter, NextStep, TimelineEntry
from domain.errors import ErrorCode, RefusedError
from domain.ids import MalformedIdError, Prefix, parse, pattern_of, show
from domain.instants import instant
from domain.jobs import JobKind, JobState, dedupe_key
from domain.money import Currency
from domain.payment import UNDECIDED, Payment, PaymentStatus
from domain.rendering import render_payment
from ingress.bodies import parse as parse_model
from ingress.envelope import answer
from ingress.lookup import readable_payment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.cache import Cache
    from db.connection import Connection, Database
    from ingress.auth import Authenticator

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
_YEAR_MIN = 1971  # ids count from 1970, and a zone may reach back a day
OFFSET_MAX = 10_000  # further down a page would cost more the deeper it is; a cursor does not


def _in_upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _in_utc(value: object) -> object:
    """Read an RFC 3339 instant or a plain date; without a zone it is in UTC."""
    if not isinstance(value, str):
        return value
    # A plus sign that was not escaped arrives as a blank.
    at = datetime.fromisoformat(value.replace(" ", "+") if value.count(" ") == 1 and "T" in value else value)
    if at.year < _YEAR_MIN:
        message = f"instants begin with the year {_YEAR_MIN}"
        raise ValueError(message)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _cursor(value: object) -> object:
    try:
        return parse(Prefix.PAYMENT, value if isinstance(value, str) else "")
    except MalformedIdError:
        message = "no cursor of ours; send the nextCursor of a page as it was"
        raise ValueError(message) from None


_EITHER_FORMAT = WithJsonSchema(
    {
        "type": "string",
        "pattern": "^(197[1-9]|19[89][0-9]|[2-9][0-9]{3})-",
        "anyOf": [{"format": "date-time"}, {"format": "date"}],
    }
)
Instant = Annotated[datetime | None, BeforeValidator(_in_utc), _EITHER_FORMAT]


class HistoryQuery(BaseModel):
    """The query of `GET /payments/user/{userId}`; `from` is inclusive, `to` is not."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX, description="How many to show.")] = LIMIT_DEFAULT
    offset: Annotated[int, Field(ge=0, le=OFFSET_MAX, description="How many to leave out; not with a cursor.")] = 0
    since: Annotated[Instant, Field(alias="from", description="Made then or later; UTC where it names no zone.")] = None
    until: Annotated[Instant, Field(alias="to", description="Made before then.")] = None
    status: Annotated[
        PaymentStatus | None,
        BeforeValidator(_in_upper_case),
        WithJsonSchema({"type": "string", "enum": [status.lower() for status in PaymentStatus]}),
        Field(description="Only these."),
    ] = None
    currency: Annotated[Currency | None, Field(description="Only these.")] = None
    cursor: Annotated[
        Any,
        BeforeValidator(_cursor),
        WithJsonSchema({"type": "string", "pattern": pattern_of(Prefix.PAYMENT)}),
        Field(description="The nextCursor of the page before."),
    ] = None


def history_blueprint(database: Database, authenticator: Authenticator, cache: Cache) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("history", __name__)

    @routes.get("/payments/user/<path:user_id>")
    def list_payments(user_id: str) -> Response:
        caller = authenticator.caller()
        query = parse_model(HistoryQuery, _single_values())
        if query.cursor is not None and query.offset:
            raise RefusedError(ErrorCode.INVALID_REQUEST, "Send either a cursor or an offset.", field="offset")
        if not caller.may_read(user_id):
            raise RefusedError(
                ErrorCode.INSUFFICIENT_PERMISSIONS, "This token may not see that user's payments.", field="userId"
            )

        question = query.model_dump(mode="json")
        return answer(cache.read(CacheKind.HISTORY, user_id, question, partial(_page, database, user_id, query)))

    @routes.get("/payments/<payment_id>/history")
    def show_history(payment_id: str) -> Response:
        caller = authenticator.caller()
        with database.connection() as connection:
            payment = readable_payment(connection, caller, payment_id)
            lines = history.get_timeline(connection, payment.id)
            steps = _next_steps(connection, payment)
            look_at = looks.get_next_look(connection, payment)
        return answer(
            {
                "paymentId": show(Prefix.PAYMENT, payment.id),
                "status": payment.status.lower(),
                "history": [_render_entry(line) for line in lines],
                "next": [_render_step(step) for step in steps] + _awaited(payment, steps, look_at),
            }
        )

    return routes


def _single_values() -> dict[str, Any]:
    """Read the query; a name given twice stays a list, which no field takes."""
    return {name: found[0] if len(found) == 1 else found for name, found in request.args.lists()}


def _page(database: Database, user_id: str, query: HistoryQuery) -> dict[str, Any]:
    wanted = HistoryFilter(
        user_id=user_id,
        since=query.since,
        until=query.until,
        status=query.status,
        currency=query.currency,
        cursor=query.cursor,
    )
    with database.connection() as connection:
        found = history.get_user_payments(connection, wanted, offset=query.offset, limit=query.limit + 1)
        # Whoever follows a cursor has had the count with the first page.
        total = None if query.cursor is not None else history.count_user_payments(connection, wanted)
    page, has_more = found[: query.limit], len(found) > query.limit
    return {
        "payments": [render_payment(payment) for payment in page],
        "totalCount": None if total is None else total.count,
        "totalIsExact": None if total is None else total.is_exact,
        "hasMore": has_more,
        "pagination": {
            "limit": query.limit,
            "offset": query.offset,
            "nextCursor": show(Prefix.PAYMENT, page[-1].id) if has_more else None,
        },
    }


def _next_steps(connection: Connection, payment: Payment) -> list[NextStep]:
    """Find what is to be done for a payment by itself: its first job bears its id, others are named after it."""
    given_back = [refund.id for refund in refunds.get_refunds_of(connection, [payment.id])]
    keys = [dedupe_key(JobKind.VERIFY_PAYMENT, payment.id)]
    keys += [dedupe_key(JobKind.CHECK_REFUND, refund_id) for refund_id in given_back]
    return history.get_next_steps(connection, ids=[payment.id, *given_back], dedupe_keys=keys)


def _awaited(payment: Payment, steps: Sequence[NextStep], look_at: datetime | None) -> list[dict[str, Any]]:
    """Tell what is waited for where no job is at work: the next look, and the customer for as long as that one has."""
    if payment.status not in UNDECIDED or any(step.state != JobState.DEAD for step in steps):
        return []
    awaited = [] if look_at is None else [_wait(JobKind.VERIFY_PAYMENT, look_at)]
    if not steps and (look_at is None or payment.expires_at is None or look_at <= payment.expires_at):
        awaited.append(_wait("wait_for_customer", payment.expires_at))
    return awaited


def _wait(step: str, at: datetime | None) -> dict[str, Any]:
    return {"step": step, "at": instant(at), "attempts": 0, "lastError": None}


def _render_entry(line: TimelineEntry) -> dict[str, Any]:
    return {
        "fact": line.fact,
        "status": line.status.lower(),
        "source": line.source,
        "details": line.details,
        "correlationId": line.correlation_id,
        "at": instant(line.at),
    }


def _render_step(step: NextStep) -> dict[str, Any]:
    """Show a job; one that has been given up is a step for a person, at no time of its own."""
    is_dead = step.state == JobState.DEAD
    return {
        "step": "wait_for_operator" if is_dead else step.kind,
        "at": None if is_dead else instant(step.run_at),
        "attempts": step.failures,
        "lastError": step.last_error,
    }
