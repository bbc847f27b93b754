"""Faults on demand: rules that say which API calls go wrong, how, how often, and how many times."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, cast

from sandbox.answers import Answer, broken, rate_limited
from sandbox.limits import limit_of
from sandbox.settings import InvalidSettingError, mapping, probability, text, whole
from sandbox.wire import Json, JsonObject

Kind: TypeAlias = Literal["latency", "error", "rate_limited", "reset", "lost_answer", "garbage"]
KINDS: tuple[Kind, ...] = ("latency", "error", "rate_limited", "reset", "lost_answer", "garbage")
BODIES = ("json", "html", "empty")
ENDPOINTS = (
    *("initialize", "verify", "fetch", "list", "totals", "timeline"),
    *("refund", "refund_list", "refund_fetch", "refund_retry"),
    *("customer_create", "customer_list", "customer_fetch", "customer_update"),
    *("charge_authorization", "partial_debit", "authorization_deactivate"),
    *("charge", "charge_submit_pin", "charge_submit_otp", "charge_submit_phone", "charge_submit_birthday"),
    *("charge_submit_address", "charge_check"),
    "*",
    *("service_user", "service_order"),
)
# All of Paystack may be down while the merchant's own services are up.
_NOT_OF_PAYSTACK = frozenset({"service_user", "service_order"})

_LATENCY_MAX_MS = 600_000
# The 99th percentile of a normal distribution lies this many standard deviations above its mean.
_Z_99 = 2.3263
_HTML = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"
GARBAGE = Answer(200, b'{"status":true,"message":"Verif\x00\xff<')


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer takes in real milliseconds: fixed, uniform, or log-normal (median and 99 %)."""

    shape: Literal["fixed", "uniform", "lognormal"]
    first: float
    second: float = 0.0

    def draw(self, source: random.Random) -> float:
        """Draw one latency in milliseconds, ten minutes at most."""
        match self.shape:
            case "fixed":
                return self.first
            case "uniform":
                return source.uniform(self.first, self.second)
            case "lognormal":
                sigma = math.log(self.second / self.first) / _Z_99
                return min(source.lognormvariate(math.log(self.first), sigma), _LATENCY_MAX_MS)


@dataclass(slots=True)
class Rule:
    """One fault. ``times`` left is None for ever; ``reference`` and ``amount`` narrow it to one payment.

    ``after_effect`` says whether the call does its work before it goes wrong.
    """

    id: int
    kind: Kind
    endpoint: str
    probability: float
    times: int | None
    latency: Latency | None
    status: int
    body: str
    reset_seconds: int
    after_effect: bool
    reference: str | None
    amount: int | None
    hits: int = 0

    def as_json(self) -> JsonObject:
        """Show the rule with its hits."""
        return cast("JsonObject", asdict(self))

    def answer(self) -> Answer:
        """Return what is sent in place of the real answer."""
        if self.kind == "rate_limited":
            return rate_limited(limit=limit_of(self.endpoint, "live"), reset_seconds=self.reset_seconds).answer()
        if self.kind == "garbage":
            return GARBAGE
        match self.body:
            case "html":
                return Answer(self.status, _HTML % (self.status, self.status), {"Content-Type": "text/html"})
            case "empty":
                return Answer(self.status, b"", {})
            case _:
                return broken(self.status)


class Faults:
    """The rules in force."""

    def __init__(self, *, seed: int | None) -> None:
        """Start without rules; the same seed makes the same probabilities fall the same way."""
        self._random = random.Random(None if seed is None else seed + 2)
        self._next_id = 1
        self.rules: dict[int, Rule] = {}

    def add(self, given: JsonObject) -> Rule:
        """Enter a rule as the control API takes it.

        Raises:
            InvalidSettingError: naming what is wrong with it.

        """
        rule = _read_rule(self._next_id, given)
        self._next_id += 1
        self.rules[rule.id] = rule
        return rule

    def strike(self, endpoint: str, *, reference: str | None, amount: int | None) -> tuple[float, Rule | None]:
        """Decide what goes wrong with one call: latency in milliseconds, and the first other rule that hits.

        Latencies add up. A rule counts as hit only when it has its effect.
        """
        latency_ms, struck = 0.0, None
        for rule in self.rules.values():
            if rule.endpoint != endpoint and (rule.endpoint != "*" or endpoint in _NOT_OF_PAYSTACK):
                continue
            if rule.times is not None and rule.hits >= rule.times:
                continue
            if rule.reference not in (None, reference) or rule.amount not in (None, amount):
                continue
            if struck is not None and rule.latency is None:
                continue
            if rule.probability < 1 and self._random.random() >= rule.probability:
                continue
            rule.hits += 1
            if rule.latency is not None:
                latency_ms += rule.latency.draw(self._random)
            else:
                struck = rule
        return latency_ms, struck


def _read_rule(rule_id: int, given: JsonObject) -> Rule:
    names = {"endpoint", "kind", "probability", "times", "latency_ms", "status", "body", "reset_seconds"}
    mapping("the rule", given, keys=names | {"after_effect", "reference", "amount"})
    kinds: list[Kind] = [known for known in KINDS if known == given.get("kind")]
    if not kinds:
        raise InvalidSettingError(f"kind must be one of {', '.join(KINDS)}")
    kind = kinds[0]
    endpoint, body = given.get("endpoint", "*"), given.get("body", "json")
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise InvalidSettingError(f"endpoint must be one of {', '.join(ENDPOINTS)}")
    if not isinstance(body, str) or body not in BODIES:
        raise InvalidSettingError(f"body must be one of {', '.join(BODIES)}")
    status = whole("status", given.get("status", 500))
    if not 400 <= status <= 599:  # noqa: PLR2004 - the range of HTTP errors
        raise InvalidSettingError("status must be from 400 to 599")
    after_effect = given.get("after_effect", kind in ("lost_answer", "garbage"))
    if not isinstance(after_effect, bool):
        raise InvalidSettingError("after_effect must be true or false")
    times, reference, amount = given.get("times"), given.get("reference"), given.get("amount")
    return Rule(
        id=rule_id,
        kind=kind,
        endpoint=endpoint,
        probability=probability("probability", given.get("probability", 1.0)),
        times=None if times is None else whole("times", times),
        latency=_read_latency(given.get("latency_ms")) if kind == "latency" else None,
        status=status,
        body=body,
        reset_seconds=whole("reset_seconds", given.get("reset_seconds", 60)),
        after_effect=after_effect,
        reference=None if reference is None else text("reference", reference),
        amount=None if amount is None else whole("amount", amount),
    )


def _read_latency(value: Json) -> Latency:
    """Read 250, {"min": 50, "max": 400} or {"median": 120, "p99": 900}, all in milliseconds."""
    if not isinstance(value, dict):
        return Latency("fixed", min(whole("latency_ms", value), _LATENCY_MAX_MS))
    if value.keys() == {"min", "max"}:
        low, high = whole("latency_ms.min", value["min"]), whole("latency_ms.max", value["max"])
        if low <= high <= _LATENCY_MAX_MS:
            return Latency("uniform", low, high)
    elif value.keys() == {"median", "p99"}:
        median, p99 = whole("latency_ms.median", value["median"]), whole("latency_ms.p99", value["p99"])
        if 0 < median <= p99 <= _LATENCY_MAX_MS:
            return Latency("lognormal", median, p99)
    raise InvalidSettingError(
        "latency_ms must be a number, {min, max} or {median, p99}, ascending, at most ten minutes"
    )
