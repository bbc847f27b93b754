"""The customers and their shop: they order, pay, ask for their money back, and remember every answer.

Each intention has one Idempotency-Key and is sent until it is answered. What a customer does next depends only on what
Payfleet told: nobody looks into the database.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp

from bench.chaos.arena import Arena
from bench.chaos.books import PAID
from bench.chaos.plan import CARD, Order, Way
from bench.chaos.told import NO_ANSWER, Answer, Request, Told
from domain.ids import Prefix, parse, reference_of
from ops.embedded.ports import LOOPBACK
from ops.tokens import sign_token
from tests.settings import make_settings

_ANSWER_SECONDS = 15.0
_AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0)
_POLL_SECONDS = (1.0, 2.0, 4.0, 6.0, 8.0)
_LOOK_SECONDS = (0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
_FINAL_REFUND = frozenset({"success", "failed", "needs_attention"})


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    data: Mapping[str, Any]
    code: str | None


class Customers:
    """All of them. `run` returns when everybody has what they want, or is told to give up."""

    def __init__(self, arena: Arena, orders: Sequence[Order], told: Told, *, seed: int) -> None:
        self._arena = arena
        self._orders = orders
        self._told = told
        self._random = random.Random(f"customers {seed}")
        settings = make_settings({**arena.environment, "DATABASE_URL": "postgresql:///"})
        self._token = sign_token(settings, "shop", ["service"], timedelta(hours=6))
        self._methods: dict[str, asyncio.Future[str]] = {}
        self._started = self._calm_seconds = 0.0
        self._http: aiohttp.ClientSession
        self.calm_latencies: list[float] = []
        self.progress: Counter[str] = Counter()
        self.unsatisfied: dict[str, str] = {}

    async def run(self, *, calm_seconds: float) -> None:
        """Place every order at its time and see each through."""
        self._started = time.monotonic()
        self._calm_seconds = calm_seconds
        connector = aiohttp.TCPConnector(limit=64)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}"}
        for order in self._orders:
            if order.saves_card:
                self._methods[order.user] = asyncio.get_running_loop().create_future()
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as self._http,
            asyncio.TaskGroup() as group,
        ):
            for order in self._orders:
                await self._sleep_until(order.at)
                group.create_task(self._see_through(order))

    @property
    def open(self) -> int:
        """How many still want something."""
        return len(self.unsatisfied)

    # One customer

    async def _see_through(self, order: Order) -> None:
        wants = partial(self._wants, order)
        wants("the payment accepted" if order.way is not Way.SAVED else "a saved card")
        method = await asyncio.shield(self._methods[order.user]) if order.way is Way.SAVED else None
        wants("the payment accepted")
        request = Request(
            kind="payment",
            key=f"key-{order.order_id}",
            subject=order.order_id,
            amount=order.amount,
            currency=order.currency,
        )
        payment_id = await self._order(order, request, method)
        if payment_id is None:
            return
        if await self._pay(order, request, payment_id):
            self.progress["paid"] += 1
            if order.saves_card:
                wants("the card saved")
                await self._find_method(order)
            for number, amount in enumerate(order.refunds):
                await self._ask_back(order, payment_id, number, amount)
        self.unsatisfied.pop(order.order_id, None)

    def _wants(self, order: Order, what: str) -> None:
        self.unsatisfied[order.order_id] = what

    async def _order(self, order: Order, request: Request, method: str | None) -> str | None:
        body: dict[str, Any] = {
            "userId": order.user,
            "orderId": order.order_id,
            "amount": order.amount,
            "currency": order.currency,
        }
        if method is not None:
            body["paymentMethodId"] = method
        else:
            body |= {"email": f"{order.user}@example.com", "savePaymentMethod": order.saves_card}
        data = await self._until_answered(request, "/payments", body, "paymentId", waits=order.waits)
        if data is None:
            return None
        self.progress["accepted"] += 1
        if order.repeats:
            await self._until_answered(request, "/payments", body, "paymentId")
        return data["paymentId"]

    async def _pay(self, order: Order, request: Request, payment_id: str) -> bool:
        """Pay as this customer does, and wait until Payfleet says so; False where there is nothing to be paid back."""
        path, wants = f"/payments/{payment_id}", partial(self._wants, order)
        match order.way:
            case Way.SAVED:
                pass
            case Way.EAGER:
                wants("the transaction at Paystack")
                await self._pay_at_paystack(_first_reference(payment_id), card=order.card)
            case _:
                wants("the page to pay on")
                shown = await self._watch(path, request, lambda data: data["authorizationUrl"] is not None)
                await self._pay_on_page(order, shown["reference"])
        if order.way is Way.NEVER:
            await self._lie(order, request, payment_id)
            return False
        if order.way is Way.WRONG_AMOUNT:
            wants("the odd money noticed")
            await self._watch(path, request, lambda data: data["reviewReason"] is not None)
            return False
        wants("the payment to count as paid")
        await self._watch(path, request, lambda data: data["status"].upper() in PAID)
        return True

    async def _pay_on_page(self, order: Order, reference: str) -> None:
        await asyncio.sleep(self._random.uniform(0.1, 2.0))
        match order.way:
            case Way.NEVER:
                return
            case Way.WRONG_AMOUNT:
                await self._pay_at_paystack(reference, card=CARD, amount=order.amount - 1)
            case Way.SECOND_TRY:
                await self._pay_at_paystack(reference, outcome="failed", gateway_response="Declined")
                await asyncio.sleep(self._random.uniform(0.5, 3.0))
                await self._pay_at_paystack(reference, card=order.card)
            case _:
                await self._pay_at_paystack(reference, card=order.card)

    async def _pay_at_paystack(self, reference: str, **payment: object) -> None:
        """Pay a transaction as soon as Paystack has it."""
        for pause in itertools.chain(_LOOK_SECONDS, itertools.repeat(_LOOK_SECONDS[-1])):
            with suppress(RuntimeError, OSError, aiohttp.ClientError, TimeoutError):
                await self._arena.control(f"transactions/{reference}/pay", "POST", **payment)
                return
            await asyncio.sleep(pause)

    async def _find_method(self, order: Order) -> None:
        for pause in _pauses():
            reply = await self._send("GET", f"/payment-methods/user/{order.user}")
            if reply.status == 200 and reply.data["paymentMethods"]:
                self._methods[order.user].set_result(reply.data["paymentMethods"][0]["paymentMethodId"])
                return
            await asyncio.sleep(pause)

    async def _ask_back(self, order: Order, payment_id: str, number: int, amount: int) -> None:
        self._wants(order, "the refund accepted")
        request = Request(
            kind="refund",
            key=f"key-{order.order_id}-refund-{number}",
            subject=payment_id,
            amount=amount,
            currency=order.currency,
        )
        path = f"/payments/{payment_id}/refund"
        data = await self._until_answered(request, path, {"amount": amount}, "refundId", waits=order.waits)
        if data is None:
            return
        self.progress["refunds"] += 1
        self._wants(order, "the refund done")
        await self._watch(f"/refunds/{data['refundId']}", request, lambda shown: shown["status"] in _FINAL_REFUND)
        self.progress["refunded"] += 1

    async def _lie(self, order: Order, request: Request, payment_id: str) -> None:
        """Say that a payment was paid which nobody paid: forged, and every second time signed, of another amount."""
        reference = _first_reference(payment_id)
        body = json.dumps({"event": "charge.success", "data": _transaction(order, reference, order.amount)}).encode()
        wrong = hmac.new(b"not the key", body, hashlib.sha512).hexdigest()
        for pause in _pauses():
            reply = await self._send("POST", "/webhooks/paystack", raw=body, headers={"x-paystack-signature": wrong})
            self._told.forged.append(Answer(self._now(), 0.0, reply.status, code=reply.code))
            if reply.status not in {NO_ANSWER, 503}:
                break
            await asyncio.sleep(pause)
        self.progress["forged"] += 1
        if order.number % 2 == 0:
            self._wants(order, "the lie noticed")
            data = _transaction(order, reference, order.amount // 2)
            await self._arena.control("webhooks", event="charge.success", data=data)
            path = f"/payments/{payment_id}"
            await self._watch(path, request, lambda shown: shown["reviewReason"] is not None)

    # Asking

    async def _watch(
        self, path: str, request: Request, enough: Callable[[Mapping[str, Any]], bool]
    ) -> Mapping[str, Any]:
        """Look again and again until it has come far enough."""
        for pause in _pauses():
            await asyncio.sleep(pause * self._random.uniform(0.7, 1.3))
            reply = await self._send("GET", path)
            if reply.status == 200:
                request.show(reply.data["status"])
                if enough(reply.data):
                    return reply.data
            elif reply.status not in {NO_ANSWER, 503}:
                # It was promised: that it cannot be seen is an answer the judge should know of.
                request.answers.append(Answer(self._now(), 0.0, reply.status, code=reply.code))
        raise AssertionError

    async def _until_answered(
        self, request: Request, path: str, body: Mapping[str, Any], id_name: str, *, waits: int = 0
    ) -> Mapping[str, Any] | None:
        """Send a request until it is answered for good; None when it was refused."""
        if not request.answers:
            self._told.requests.append(request)
        headers = {"Idempotency-Key": request.key} | ({"Prefer": f"wait={waits}"} if waits else {})
        for pause in itertools.chain(_AGAIN_SECONDS, itertools.repeat(_AGAIN_SECONDS[-1])):
            begun = self._now()
            reply = await self._send("POST", path, raw=json.dumps(body).encode(), headers=headers)
            answer = Answer(begun, self._now() - begun, reply.status, reply.data.get(id_name), reply.code)
            request.answers.append(answer)
            if 200 <= reply.status < 300:
                if begun < self._calm_seconds and not waits:
                    self.calm_latencies.append(answer.seconds)
                return reply.data
            if reply.status not in {NO_ANSWER, 409} and reply.status < 500:
                return None
            await asyncio.sleep(pause * self._random.uniform(0.7, 1.3))
        raise AssertionError

    async def _send(
        self, method: str, path: str, *, raw: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> _Reply:
        url = f"http://{LOOPBACK}:{self._arena.web_port}{path}"
        kind = {"Content-Type": "application/json"} if raw is not None else {}
        try:
            async with self._http.request(method, url, data=raw, headers={**kind, **(headers or {})}) as answer:
                document = json.loads(await answer.read())
                error = document["error"] or {}
                return _Reply(answer.status, document["data"] or {}, error.get("code"))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return _Reply(NO_ANSWER, {}, None)

    async def _sleep_until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._now()))

    def _now(self) -> float:
        return time.monotonic() - self._started


def _pauses() -> Iterator[float]:
    return itertools.chain(_POLL_SECONDS, itertools.repeat(_POLL_SECONDS[-1]))


def _first_reference(payment_id: str) -> str:
    return reference_of(parse(Prefix.PAYMENT, payment_id), 1)


def _transaction(order: Order, reference: str, amount: int) -> dict[str, Any]:
    """What Paystack would say of a paid transaction."""
    return {
        "id": 9_000_000_000 + order.number,
        "domain": "test",
        "status": "success",
        "reference": reference,
        "amount": amount,
        "requested_amount": amount,
        "currency": order.currency,
        "channel": "card",
        "gateway_response": "Successful",
        "paid_at": "2026-01-02T03:04:05.000Z",
        "customer": {"email": f"{order.user}@example.com"},
    }
