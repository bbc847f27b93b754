"""The Paystack calls that Payfleet makes, each answered by one of `jobs.paystack.answers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ValidationError

from domain.errors import ErrorCode
from domain.instants import instant
from domain.quotas import Endpoint, Lane
from jobs.paystack.answers import Answer, Done, NotNow, NotSent, Refused, Unknown
from jobs.paystack.authorizations import AttemptedCharge, ChargeAttempt, Customer
from jobs.paystack.gate import retry_after
from jobs.paystack.refunds import FoundRefund, RefundData
from jobs.paystack.transport import Response
from jobs.paystack.wire import InitializedTransaction, Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.money import Money
    from domain.refund import Refund
    from jobs.paystack.gate import Gate
    from jobs.paystack.transport import Transport

Model = TypeVar("Model", bound=BaseModel)

_SUCCESSES = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_NOT_FOUND = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_PAGES_MAX = 100
_PAGE = 100  # the most rows that Paystack puts on a page


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeRequest:
    """What initialize is asked for; `channels` empty means all that the merchant has."""

    reference: str
    email: str
    money: Money
    channels: Sequence[str]
    callback_url: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """What charging an authorization is asked for; the code is charged only with the address it was made with."""

    reference: str
    email: str = field(repr=False)
    authorization_code: str = field(repr=False)
    money: Money
    callback_url: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedTransaction:
    """A transaction and the raw answer it was read from."""

    transaction: Transaction
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListedTransaction:
    """A row of the list of transactions; one that lacks what it should have may not be ours at all, and is None."""

    reference: str | None
    transaction: Transaction | None


class Paystack:
    """A Paystack account, by its secret key."""

    def __init__(self, transport: Transport, gate: Gate | None = None, lane: Lane = Lane.CHECKOUT) -> None:
        """Take the transport, the gate that all calls pass (None: there is none), and on whose behalf they are made."""
        self._transport = transport
        self._gate = gate
        self._lane = lane

    def on(self, lane: Lane) -> Paystack:
        """Return the same account for calls on another behalf."""
        return Paystack(self._transport, self._gate, lane)

    def seconds_shut(self) -> float:
        """How long no call at all will be made; 0 when one might."""
        return 0.0 if self._gate is None else self._gate.seconds_shut()

    def initialize(self, request: InitializeRequest) -> Answer[InitializedTransaction]:
        """Open a transaction under our reference. `POST /transaction/initialize`."""
        body: dict[str, Any] = {
            "email": request.email,
            "amount": request.money.amount,
            "currency": request.money.currency,
            "reference": request.reference,
            # As a JSON string, numbers keep their type; as an object Paystack gives them back as strings.
            "metadata": orjson.dumps(request.metadata).decode(),
        }
        if request.channels:
            body["channels"] = list(request.channels)
        if request.callback_url:
            body["callback_url"] = request.callback_url
        answer = self._call(Endpoint.INITIALIZE, "POST", "/transaction/initialize", body)
        if isinstance(answer, Done):
            return _parsed(InitializedTransaction, answer.data)
        return answer

    def charge_authorization(self, request: ChargeRequest) -> Answer[AttemptedCharge]:
        """Charge a saved code under our reference. `POST /transaction/charge_authorization`."""
        body: dict[str, Any] = {
            "email": request.email,
            "amount": request.money.amount,
            "currency": request.money.currency,
            "authorization_code": request.authorization_code,
            "reference": request.reference,
            "metadata": orjson.dumps(request.metadata).decode(),
        }
        if request.callback_url:
            body["callback_url"] = request.callback_url
        answer = self._call(Endpoint.CHARGE_AUTHORIZATION, "POST", "/transaction/charge_authorization", body)
        if not isinstance(answer, Done):
            return answer
        parsed = _parsed(ChargeAttempt, answer.data)
        return Done(AttemptedCharge(parsed.data, answer.data)) if isinstance(parsed, Done) else parsed

    def fetch_customer(self, email: str) -> Answer[Customer | None]:
        """Read a customer with their authorizations; None when there is none. `GET /customer/{email}`."""
        answer = self._call(Endpoint.FETCH_CUSTOMER, "GET", f"/customer/{quote(email, safe='')}")
        match answer:
            case Done(data):
                return _parsed(Customer, data)
            case Refused(status) if status in _NOT_FOUND:
                return Done(None)
            case _:
                return answer

    def deactivate_authorization(self, code: str) -> Answer[None]:
        """Have a code charged no more; one that Paystack does not know is none.

        `POST /customer/authorization/deactivate`, whose answer has no data.
        """
        path, body = "/customer/authorization/deactivate", {"authorization_code": code}
        answer = self._call(Endpoint.DEACTIVATE_AUTHORIZATION, "POST", path, body, shape=object)
        match answer:
            case Done():
                return Done(None)
            case Refused(status, message) if status in _NOT_FOUND and _says_gone(message):
                return Done(None)
            case _:
                return answer

    def verify(self, reference: str) -> Answer[VerifiedTransaction | None]:
        """Ask what Paystack knows of a reference; None when it knows nothing.

        `GET /transaction/verify/{reference}`; an unknown reference is answered 400 or 404.
        """
        return self._find_transaction(Endpoint.VERIFY, f"/transaction/verify/{quote(reference, safe='')}")

    def fetch_transaction(self, transaction_id: int) -> Answer[VerifiedTransaction | None]:
        """Ask what became of a transaction, by Paystack's number for it; None when there is none.

        `GET /transaction/{id}`.
        """
        return self._find_transaction(Endpoint.FETCH_TRANSACTION, f"/transaction/{transaction_id}")

    def list_transactions(self, *, since: datetime, until: datetime, page: int) -> Answer[list[ListedTransaction]]:
        """Read a page of the transactions made within a time, whoever made them; beyond the last page it is empty.

        `GET /transaction`.
        """
        answer = self._call(Endpoint.LIST_TRANSACTIONS, "GET", f"/transaction?{_span(since, until, page)}", shape=list)
        return Done([_listed(raw) for raw in answer.data]) if isinstance(answer, Done) else answer

    def create_refund(self, refund: Refund) -> Answer[FoundRefund]:
        """Ask for money to be given back. `POST /refund` takes no reference of ours: our id goes into the note."""
        body: dict[str, Any] = {
            # By number and with its amount, always: a reference finds nothing in lists, and no amount means all of it.
            "transaction": refund.gateway_transaction_id,
            "amount": refund.money.amount,
            "currency": refund.money.currency,
            "merchant_note": refund.note,
        }
        if refund.reason:
            body["customer_note"] = refund.reason
        return _parsed_refund(self._call(Endpoint.CREATE_REFUND, "POST", "/refund", body))

    def fetch_refund(self, gateway_refund_id: int) -> Answer[FoundRefund]:
        """Ask how a refund stands. `GET /refund/{id}`."""
        return _parsed_refund(self._call(Endpoint.FETCH_REFUND, "GET", f"/refund/{gateway_refund_id}"))

    def list_refunds(self, transaction_id: int) -> Answer[list[FoundRefund]]:
        """Read every refund of a transaction. `GET /refund`, page by page until one brings nothing new."""
        found: dict[int, FoundRefund] = {}
        for page in range(1, _PAGES_MAX + 1):
            path = f"/refund?transaction={transaction_id}&perPage={_PAGE}&page={page}"
            answer = self._call(Endpoint.LIST_REFUNDS, "GET", path, shape=list)
            if not isinstance(answer, Done):
                return answer
            parsed = _parsed_refunds(answer.data)
            if not isinstance(parsed, Done):
                return parsed
            known = len(found)
            found |= {one.refund.id: one for one in parsed.data}
            if len(found) == known:
                return Done([f for f in found.values() if f.refund.transaction == transaction_id])
        return Unknown(f"the list of refunds has no end after {_PAGES_MAX} pages")

    def list_refunds_made(self, *, since: datetime, until: datetime, page: int) -> Answer[list[FoundRefund]]:
        """Read a page of the refunds made within a time, whoever made them; beyond the last page it is empty.

        `GET /refund`.
        """
        answer = self._call(Endpoint.LIST_REFUNDS, "GET", f"/refund?{_span(since, until, page)}", shape=list)
        return _parsed_refunds(answer.data) if isinstance(answer, Done) else answer

    def _find_transaction(self, endpoint: Endpoint, path: str) -> Answer[VerifiedTransaction | None]:
        answer = self._call(endpoint, "GET", path)
        match answer:
            case Done(data):
                parsed = _parsed(Transaction, data)
                return Done(VerifiedTransaction(parsed.data, data)) if isinstance(parsed, Done) else parsed
            case Refused(status, message, code) if status in _NOT_FOUND and _says_not_found(message, code):
                return Done(None)
            case _:
                return answer

    def _call(
        self, endpoint: Endpoint, method: str, path: str, body: object = None, *, shape: type = dict
    ) -> Answer[Any]:
        exchange = partial(self._transport.exchange, method, path, body)
        response = exchange() if self._gate is None else self._gate.pass_through(endpoint, self._lane, exchange)
        return _classify(response, shape) if isinstance(response, Response) else response


def is_duplicate_reference(refused: Refused) -> bool:
    """Whether Paystack says that it already holds a transaction under this reference."""
    return refused.code == "duplicate_reference" or "duplicate transaction reference" in refused.message.lower()


def is_invalid_authorization(refused: Refused) -> bool:
    """Whether Paystack says that a code cannot be charged: unknown, taken back, or of another customer."""
    message = refused.message.lower()
    return "authorization code is invalid" in message or "does not match authorization code" in message


def is_unsupported_currency(refused: Refused) -> bool:
    """Whether Paystack says that the merchant does not take this currency."""
    return refused.code == "unsupported_currency" or "currency not supported" in refused.message.lower()


def _says_gone(message: str) -> bool:
    return any(word in message.lower() for word in ("not found", "already", "inactive", "invalid"))


def _says_not_found(message: str, code: str | None) -> bool:
    return code == "transaction_not_found" or "not found" in message.lower()


def _classify(response: Response, shape: type) -> Answer[Any]:
    """Sort an answer whose data should have this shape.

    Only a JSON refusal in Paystack's own envelope counts as a refusal; a proxy's page does not.
    """
    match response.status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return NotNow(retry_after(response.headers), "Paystack's rate limit is reached")
        case HTTPStatus.UNAUTHORIZED:
            return NotSent("Paystack refuses the secret key", ErrorCode.PAYSTACK_API_ERROR)
        case status if not isinstance(response.body, dict):
            return Unknown(f"HTTP {status} without a JSON object")
        case status:
            return _classify_envelope(status, cast("dict[str, Any]", response.body), shape)


def _classify_envelope(status: int, body: dict[str, Any], shape: type) -> Answer[Any]:
    data, code = body.get("data"), body.get("code")
    if status in _SUCCESSES and body.get("status") is True and isinstance(data, shape):
        return Done(data)
    if status in range(HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR) and "message" in body:
        return Refused(status, str(body["message"]), code if isinstance(code, str) else None)
    return Unknown(f"HTTP {status}")


def _parsed(model: type[Model], data: dict[str, Any]) -> Done[Model] | Unknown:
    try:
        return Done(model.model_validate(data))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        return Unknown(f"the answer lacks what it should have: {fields}")


def _parsed_refund(answer: Answer[dict[str, Any]]) -> Answer[FoundRefund]:
    if not isinstance(answer, Done):
        return answer
    parsed = _parsed(RefundData, answer.data)
    return Done(FoundRefund(parsed.data, answer.data)) if isinstance(parsed, Done) else parsed


def _parsed_refunds(rows: Sequence[dict[str, Any]]) -> Done[list[FoundRefund]] | Unknown:
    """Read rows of the list: what cannot be read may be the very one that is looked for, so then none are."""
    found: list[FoundRefund] = []
    for raw in rows:
        parsed = _parsed(RefundData, raw)
        if not isinstance(parsed, Done):
            return parsed
        found.append(FoundRefund(parsed.data, raw))
    return Done(found)


def _listed(raw: object) -> ListedTransaction:
    row = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    reference, parsed = row.get("reference"), _parsed(Transaction, row)
    transaction = parsed.data if isinstance(parsed, Done) else None
    return ListedTransaction(reference if isinstance(reference, str) else None, transaction)


def _span(since: datetime, until: datetime, page: int) -> str:
    return f"from={instant(since)}&to={instant(until)}&perPage={_PAGE}&page={page}"
