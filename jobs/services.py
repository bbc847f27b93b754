"""The merchant's own services, asked before Paystack is: whether the user may pay, and the order is what was said.

Their "no" fails the payment; without an answer nothing is sent, and the job tries again. docs/services.md has the
contract. Both are only read, so a question that went wrong may be asked once more on the spot.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import quote

import requests
import tenacity
import urllib3.exceptions
from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError
from pydantic.alias_generators import to_camel

from domain.errors import ErrorCode, PayfleetError
from domain.payment import Payment, Refused, Source
from domain.retry import Failure, FailureKind
from jobs.circuit import Circuit, Open

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.connection import Database
    from domain.settings import Settings

# Two services, each asked twice at worst, and then Paystack, all within one lease of the job.
_CONNECT_TIMEOUT_SECONDS = 1.5
_READ_TIMEOUT_SECONDS = 3.0
_TRIES = 2
_BODY_BYTES_MAX = 64 * 1024
_NO_SEGMENTS = frozenset({".", ".."})  # they would name another path


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class User(_Answer):
    """A user, as the User Service shows one."""

    user_id: str
    status: str


class Order(_Answer):
    """An order, as the Order Service shows one; `amount` in the subunit."""

    order_id: str
    user_id: str | None = None
    amount: StrictInt
    currency: str
    status: Literal["open", "paid", "cancelled"]


Answer = TypeVar("Answer", User, Order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why nothing may be sent to Paystack: a service's "no", or that it could not be asked."""

    source: Source
    refusal: Refused | None = None
    failure: Failure | None = None


class UnansweredError(PayfleetError):
    """A service did not answer as agreed."""


class NotNowError(UnansweredError):
    """A service is known not to answer, and is not asked for so many seconds."""

    def __init__(self, seconds: float) -> None:
        """Say for how long."""
        super().__init__(f"not asked for {seconds:.0f} s")
        self.seconds = seconds


class UnreachableError(UnansweredError):
    """It did not answer at all, or with a 5xx: asking again at once may help."""


_patiently = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(UnreachableError),
    stop=tenacity.stop_after_attempt(_TRIES),
    wait=tenacity.wait_random(0.05, 0.25),
    reraise=True,
)


class Service:
    """One service by its address; safe to share, each thread has its own connection."""

    def __init__(self, base_url: str, circuit: Circuit | None = None) -> None:
        """Take the address, and the circuit breaker in front of it (None: there is none); nothing is sent."""
        self._base_url = base_url.rstrip("/")
        self._circuit = circuit
        self._local = threading.local()

    def find(self, kind: type[Answer], collection: str, name: str, *, correlation_id: str) -> Answer | None:
        """Read one thing; None when the service says that there is none.

        Raises:
            UnansweredError: it says neither; a NotNowError if it was not even asked.

        """
        if name in _NO_SEGMENTS:
            return None
        status, body = self._pass_through(
            partial(_patiently, self._get, f"/{collection}/{quote(name, safe='')}", correlation_id)
        )
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise UnansweredError(f"HTTP {status}")
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) or "JSON" for e in error.errors())
            raise UnansweredError(f"its answer lacks what it should have: {fields}") from None

    def _pass_through(self, ask: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
        if self._circuit is None:
            return ask()
        leave = self._circuit.admit()
        if isinstance(leave, Open):
            raise NotNowError(leave.seconds)
        try:
            answer = ask()
        except BaseException as error:
            self._circuit.failed(leave, str(error) or type(error).__name__)
            raise
        self._circuit.worked(leave)
        return answer

    def _get(self, path: str, correlation_id: str) -> tuple[int, bytes]:
        try:
            with self._session().get(
                self._base_url + path,
                headers={"Accept": "application/json", "X-Request-Id": correlation_id},
                timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise UnreachableError(f"HTTP {response.status_code}")
                return response.status_code, response.raw.read(_BODY_BYTES_MAX, decode_content=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(type(error).__name__) from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session


class Services:
    """Both services; one that is not there is not asked."""

    def __init__(self, *, users: Service | None = None, orders: Service | None = None) -> None:
        """Take what there is."""
        self._users = users
        self._orders = orders

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Services:
        """Make those that the settings name, each behind a circuit breaker of its own."""
        users, orders = settings.user_service_url, settings.order_service_url
        return cls(
            users=Service(users, Circuit(database, "user_service")) if users else None,
            orders=Service(orders, Circuit(database, "order_service")) if orders else None,
        )

    @property
    def off(self) -> list[str]:
        """The names of the settings whose check is off."""
        named = (("USER_SERVICE_URL", self._users), ("ORDER_SERVICE_URL", self._orders))
        return [name for name, service in named if service is None]

    def check(self, payment: Payment, *, correlation_id: str) -> Objection | None:
        """Ask both; None when neither objects. To be called outside of any transaction."""
        return self._check_user(payment, correlation_id) or self._check_order(payment, correlation_id)

    def _check_user(self, payment: Payment, correlation_id: str) -> Objection | None:
        if self._users is None:
            return None
        try:
            user = self._users.find(User, "users", payment.user_id, correlation_id=correlation_id)
            refusal = objection_to_user(payment, user)
        except UnansweredError as error:
            return Objection(source=Source.USER_SERVICE, failure=_failure("the User Service", error))
        return refusal and Objection(source=Source.USER_SERVICE, refusal=refusal)

    def _check_order(self, payment: Payment, correlation_id: str) -> Objection | None:
        if self._orders is None:
            return None
        try:
            order = self._orders.find(Order, "orders", payment.order_id, correlation_id=correlation_id)
            refusal = objection_to_order(payment, order)
        except UnansweredError as error:
            return Objection(source=Source.ORDER_SERVICE, failure=_failure("the Order Service", error))
        return refusal and Objection(source=Source.ORDER_SERVICE, refusal=refusal)


def objection_to_user(payment: Payment, user: User | None) -> Refused | None:
    """Decide whether a user may pay.

    Raises:
        UnansweredError: the answer is about another user.

    """
    if user is None:
        return Refused(ErrorCode.USER_NOT_FOUND, "The User Service knows no such user.")
    if user.user_id != payment.user_id:
        raise UnansweredError("its answer is about another user")
    if user.status != "active":
        return Refused(ErrorCode.USER_NOT_ACTIVE, "The User Service says that the user is not active.")
    return None


def objection_to_order(payment: Payment, order: Order | None) -> Refused | None:
    """Decide whether an order may be paid as it was asked.

    Raises:
        UnansweredError: the answer is about another order.

    """
    if order is None:
        return Refused(ErrorCode.ORDER_NOT_FOUND, "The Order Service knows no such order.")
    if order.order_id != payment.order_id:
        raise UnansweredError("its answer is about another order")
    if order.status != "open":
        return Refused(ErrorCode.ORDER_ALREADY_PAID, f"The Order Service says that the order is {order.status}.")
    asked = (payment.money.amount, payment.money.currency.value, payment.user_id)
    theirs = (order.amount, order.currency, order.user_id or payment.user_id)
    differing = [
        name for name, ours, other in zip(("amount", "currency", "userId"), asked, theirs, strict=True) if ours != other
    ]
    if differing:
        return Refused(ErrorCode.ORDER_MISMATCH, f"The Order Service has another {', '.join(differing)} for the order.")
    return None


def _failure(service: str, error: UnansweredError) -> Failure:
    if isinstance(error, NotNowError):
        return Failure(FailureKind.UNAVAILABLE, f"{service} does not answer", error.seconds)
    return Failure(FailureKind.TRANSIENT, f"{service}: {error}")
