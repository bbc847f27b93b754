"""What is going to happen, drawn from a seed before it starts: who orders what and when, and what breaks when.

The same seed and scale make the same plan. What becomes of it is up to the processes: a plan is replayed, its races are
not.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from bench.chaos.proxy import Weather


class Row(IntEnum):
    """The rows of the fault matrix, and one more for what a network does by itself."""

    WORKER_KILLED = 1
    RELAY_KILLED = 2
    WEB_KILLED = 3
    BROKER_DOWN = 4
    POSTGRES_DOWN = 5
    MEMORY_ALARM = 6
    REDIS_LOST = 7
    ANSWER_LOST = 8
    PAYSTACK_SICK = 9
    COMMIT_LOST = 10
    WEBHOOKS_ODD = 11
    BROKER_EMPTIED = 12
    CLOCK_STEP = 13
    IDLE_TRANSACTION = 14
    DEPLOY = 15
    NETWORK = 16


TITLES: Mapping[Row, str] = {
    Row.WORKER_KILLED: "kill -9 of the workers, with a backlog",
    Row.RELAY_KILLED: "kill -9 of the relay between RabbitMQ's confirm and its own books",
    Row.WEB_KILLED: "kill -9 of the web process in the middle of a request",
    Row.BROKER_DOWN: "RabbitMQ killed, or stopped and started",
    Row.POSTGRES_DOWN: "Postgres stopped at once and started",
    Row.MEMORY_ALARM: "RabbitMQ's memory alarm",
    Row.REDIS_LOST: "Redis emptied, and stopped",
    Row.ANSWER_LOST: "Paystack does it, and its answer is lost",
    Row.PAYSTACK_SICK: "Paystack answers 500, 429, garbage, or after 40 s",
    Row.COMMIT_LOST: "the answer to a COMMIT is lost",
    Row.WEBHOOKS_ODD: "webhooks three times, in any order, too early, for another amount, with a bad signature",
    Row.BROKER_EMPTIED: "RabbitMQ's queues purged, deleted, its disk wiped",
    Row.CLOCK_STEP: "one process's clock steps by an hour",
    Row.IDLE_TRANSACTION: "a long idle transaction holds vacuum back",
    Row.DEPLOY: "an old worker meets a job it does not know",
    Row.NETWORK: "each way between two processes is late, stalls, breaks, swallows, half-closes",
}


class Way(StrEnum):
    """How an order is paid."""

    PAGE = "page"
    EAGER = "eager"
    """As soon as Paystack has the transaction, whether Payfleet has heard of that or not."""
    SAVED = "saved"
    """With a saved card: Payfleet itself moves the money."""
    SECOND_TRY = "second try"
    """The card is declined at first."""
    WRONG_AMOUNT = "wrong amount"
    NEVER = "never"
    """Nobody pays, but somebody tells Payfleet so: forged, or signed and of another amount."""


_WAYS: Mapping[Way, int] = {
    Way.PAGE: 60,
    Way.EAGER: 10,
    Way.SAVED: 22,
    Way.SECOND_TRY: 4,
    Way.WRONG_AMOUNT: 2,
    Way.NEVER: 2,
}
REFUNDABLE = frozenset({Way.PAGE, Way.EAGER, Way.SAVED, Way.SECOND_TRY})

CARD = "4084084084084081"
CARD_WHOSE_REFUNDS_FAIL = "4084080000671803"
_CURRENCIES = ("NGN",) * 9 + ("GHS", "KES", "ZAR", "USD")
_REFUND_MIN = 5_000  # Paystack's own for naira


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One customer's order. Amounts are in subunits; `at` and everything else in time is seconds from the start."""

    number: int
    at: float
    way: Way
    user: str
    amount: int
    currency: str
    card: str
    saves_card: bool = False
    #: Asks Payfleet to hold its answer for so long (`Prefer: wait`).
    waits: int = 0
    #: Sends its request once more though it was answered.
    repeats: bool = False
    refunds: tuple[int, ...] = ()

    @property
    def order_id(self) -> str:
        return f"chaos-order-{self.number:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that breaks. Faults of one lane come one after the other, lanes run side by side."""

    row: Row
    lane: str
    what: str
    at: float
    seconds: float = 0.0
    link: str = ""
    weather: Weather = Weather.CLEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything."""

    name: str
    payments: int
    refunds: int
    calm_seconds: float
    storm_seconds: float
    amounts: Mapping[Row, int] = field(repr=False)
    outage_seconds: float
    idle_seconds: float
    step_seconds: float
    deploy_seconds: float
    weather_seconds: tuple[float, float]
    #: A backlog is one when it is larger than this.
    backlog: int

    @property
    def end(self) -> float:
        """When the last fault is due."""
        return self.calm_seconds + self.storm_seconds


FULL = Scale(
    name="full",
    payments=10_000,
    refunds=3_000,
    calm_seconds=30.0,
    storm_seconds=1_080.0,
    amounts={
        Row.WORKER_KILLED: 100,
        Row.RELAY_KILLED: 50,
        Row.WEB_KILLED: 50,
        Row.BROKER_DOWN: 30,
        Row.POSTGRES_DOWN: 20,
        Row.MEMORY_ALARM: 5,
        Row.REDIS_LOST: 5,
        Row.COMMIT_LOST: 50,
        Row.BROKER_EMPTIED: 3,
        Row.CLOCK_STEP: 4,
        Row.IDLE_TRANSACTION: 1,
        Row.DEPLOY: 1,
        Row.NETWORK: 55,
    },
    outage_seconds=60.0,
    idle_seconds=600.0,
    step_seconds=30.0,
    deploy_seconds=20.0,
    weather_seconds=(3.0, 12.0),
    backlog=500,
)
QUICK = Scale(
    name="quick",
    payments=250,
    refunds=75,
    calm_seconds=8.0,
    storm_seconds=62.0,
    amounts={
        Row.WORKER_KILLED: 5,
        Row.RELAY_KILLED: 4,
        Row.WEB_KILLED: 4,
        Row.BROKER_DOWN: 2,
        Row.POSTGRES_DOWN: 2,
        Row.MEMORY_ALARM: 1,
        Row.REDIS_LOST: 1,
        Row.COMMIT_LOST: 6,
        Row.BROKER_EMPTIED: 1,
        Row.CLOCK_STEP: 2,
        Row.IDLE_TRANSACTION: 1,
        Row.DEPLOY: 1,
        Row.NETWORK: 11,
    },
    outage_seconds=6.0,
    idle_seconds=20.0,
    step_seconds=6.0,
    deploy_seconds=5.0,
    weather_seconds=(1.0, 3.0),
    backlog=40,
)

LINKS = (
    *("web-postgres", "relay-postgres", "worker-postgres", "scheduler-postgres"),
    *("relay-rabbitmq", "worker-rabbitmq", "scheduler-rabbitmq"),
    *("web-redis", "worker-redis"),
    *("worker-paystack", "paystack-web"),
)
_WEATHERS = tuple(weather for weather in Weather if weather is not Weather.CLEAR)


def draw_orders(scale: Scale, seed: int) -> list[Order]:
    """Draw who orders what: a few in the calm, then most in waves, so that a backlog builds up, the rest between."""
    source = random.Random(f"orders {seed}")
    savers = max(4, scale.payments // 100)
    early = scale.payments // 20
    ways = source.choices(list(_WAYS), list(_WAYS.values()), k=scale.payments)
    orders: list[Order] = []
    for number, at in enumerate(_arrivals(scale, source, early)):
        saves = number < savers
        way = Way.PAGE if saves else ways[number]
        saved = way is Way.SAVED
        fails = not saves and source.random() < 0.03
        orders.append(
            Order(
                number=number,
                at=at,
                way=way,
                user=f"saver-{source.randrange(savers)}" if saved else f"saver-{number}" if saves else f"user-{number}",
                amount=source.randint(20_000, 1_000_000),
                currency="NGN" if saved or saves else source.choice(_CURRENCIES),
                card=CARD_WHOSE_REFUNDS_FAIL if fails else CARD,
                saves_card=saves,
                waits=source.choice((2, 5)) if source.random() < 0.2 else 0,
                repeats=source.random() < 0.05,
            )
        )
    return _with_refunds(orders, scale.refunds, source)


def _arrivals(scale: Scale, source: random.Random, early: int) -> list[float]:
    calm = [source.uniform(0, scale.calm_seconds * 0.8) for _ in range(early)]
    # Nobody orders in the last sixth: what breaks then meets what is still under way.
    end = scale.calm_seconds + scale.storm_seconds * 5 / 6
    waves = max(3, round((end - scale.calm_seconds) / 60))
    rest = scale.payments - early
    storm: list[float] = []
    for _ in range(rest):
        if source.random() < 0.7:
            begin = scale.calm_seconds + source.randrange(waves) * (end - scale.calm_seconds) / waves
            storm.append(begin + source.uniform(0, 8))
        else:
            storm.append(source.uniform(scale.calm_seconds, end))
    return sorted(calm) + sorted(storm)


def _with_refunds(orders: Sequence[Order], refunds: int, source: random.Random) -> list[Order]:
    """Spread the refunds: of the whole, of a part, or of two parts."""
    wanted: dict[int, tuple[int, ...]] = {}
    candidates = [order for order in orders if order.way in REFUNDABLE]
    source.shuffle(candidates)
    for order in candidates:
        if refunds == 0:
            break
        parts = _parts(order.amount, source)[:refunds]
        wanted[order.number] = parts
        refunds -= len(parts)
    return [replace(order, refunds=wanted.get(order.number, ())) for order in orders]


def _parts(amount: int, source: random.Random) -> tuple[int, ...]:
    first = source.randint(_REFUND_MIN, amount - _REFUND_MIN)
    match source.randrange(4):
        case 0:
            return (amount,)
        case 1:
            return (first,)
        case 2:
            return (first, amount - first)
        case _:
            # Two of the same amount: only the note tells them apart.
            return (amount // 3, amount // 3) if amount // 3 >= _REFUND_MIN else (amount,)


def draw_faults(scale: Scale, seed: int) -> list[Fault]:
    """Draw what breaks, by lane."""
    source = random.Random(f"faults {seed}")
    faults = [
        *_kills(scale, source),
        *_broker(scale, source),
        *_postgres(scale, source),
        *_redis(scale, source),
        *_commits(scale, source),
        *_network(scale, source),
        *_clock(scale, source),
    ]
    return sorted(faults, key=lambda fault: fault.at)


def _slots(count: int, begin: float, end: float, source: random.Random) -> Iterator[float]:
    """So many instants, one in each of as many equal slots."""
    width = (end - begin) / max(count, 1)
    return (begin + (slot + source.uniform(0.0, 0.8)) * width for slot in range(count))


def _kills(scale: Scale, source: random.Random) -> Iterator[Fault]:
    begin, end = scale.calm_seconds, scale.end
    deploys = scale.amounts[Row.DEPLOY]
    half = (begin + end) / 2
    for at in _slots(deploys, half, end - scale.deploy_seconds, source):
        yield Fault(row=Row.DEPLOY, lane="worker", what="old release", at=at, seconds=scale.deploy_seconds)
    whom = ("worker-1", "worker-2", "both")
    for at in _slots(scale.amounts[Row.WORKER_KILLED], begin, end, source):
        yield Fault(row=Row.WORKER_KILLED, lane="worker", what=source.choice(whom), at=at)
    moments = ("before the publish", "after the confirm")
    for number, at in enumerate(_slots(scale.amounts[Row.RELAY_KILLED], begin, end, source)):
        yield Fault(row=Row.RELAY_KILLED, lane="relay", what=moments[number % 2], at=at)
    moments = ("before the statement", "after the statement", "at any moment")
    for number, at in enumerate(_slots(scale.amounts[Row.WEB_KILLED], begin, end, source)):
        yield Fault(row=Row.WEB_KILLED, lane="web", what=moments[number % 3], at=at)


def _broker(scale: Scale, source: random.Random) -> Iterator[Fault]:
    """One thing at a time, in any order, each with room after it that is in proportion to how long it lasts."""
    downs = scale.amounts[Row.BROKER_DOWN]
    kills = max(downs * 2 // 3, min(downs, 1))
    emptied = ("deleted", "wiped", "purged")[: scale.amounts[Row.BROKER_EMPTIED]]
    todo: list[tuple[Row, str, float]] = [
        *[(Row.BROKER_DOWN, "killed", 8.0)] * kills,
        *[(Row.BROKER_DOWN, "restarted", 8.0)] * (downs - kills),
        *[(Row.MEMORY_ALARM, "alarm", scale.outage_seconds)] * scale.amounts[Row.MEMORY_ALARM],
        *[(Row.BROKER_EMPTIED, what, 8.0) for what in emptied],
    ]
    source.shuffle(todo)
    total = sum(seconds for _, _, seconds in todo)
    at, stretch = scale.calm_seconds, (scale.storm_seconds - 10) / max(total, 1.0)
    for row, what, seconds in todo:
        lasts = scale.outage_seconds if row is Row.MEMORY_ALARM else 0.0
        yield Fault(row=row, lane="broker", what=what, at=at, seconds=lasts)
        at += seconds * stretch


def _postgres(scale: Scale, source: random.Random) -> Iterator[Fault]:
    """First the idle transaction, which a restart would end; then the restarts."""
    begin = scale.calm_seconds
    for _ in range(scale.amounts[Row.IDLE_TRANSACTION]):
        yield Fault(row=Row.IDLE_TRANSACTION, lane="postgres", what="idle", at=begin, seconds=scale.idle_seconds)
        begin += scale.idle_seconds
    ends = ("immediate stop", "kill -9")
    for number, at in enumerate(_slots(scale.amounts[Row.POSTGRES_DOWN], begin, scale.end - 5, source)):
        # Mostly as the matrix says; every fifth time all its processes vanish.
        yield Fault(row=Row.POSTGRES_DOWN, lane="postgres", what=ends[number % 5 == 4], at=at)


def _redis(scale: Scale, source: random.Random) -> Iterator[Fault]:
    last = scale.end - scale.outage_seconds - 2
    for at in _slots(scale.amounts[Row.REDIS_LOST], scale.calm_seconds, last, source):
        yield Fault(row=Row.REDIS_LOST, lane="redis", what="emptied, stopped", at=at, seconds=scale.outage_seconds)


def _commits(scale: Scale, source: random.Random) -> Iterator[Fault]:
    links = ("web-postgres", "worker-postgres", "web-postgres", "relay-postgres", "worker-postgres")
    for number, at in enumerate(_slots(scale.amounts[Row.COMMIT_LOST], scale.calm_seconds, scale.end, source)):
        link = links[number % len(links)]
        yield Fault(row=Row.COMMIT_LOST, lane=f"commit {link}", what="reply lost", at=at, link=link)


def _network(scale: Scale, source: random.Random) -> Iterator[Fault]:
    """As many as asked for, so chosen that every link and every weather has its turn before any has a second."""
    pairs = [
        (link, _WEATHERS[(number + turn) % len(_WEATHERS)])
        for turn in range(len(_WEATHERS))
        for number, link in enumerate(LINKS)
    ][: scale.amounts[Row.NETWORK]]
    source.shuffle(pairs)
    latest = scale.end - scale.weather_seconds[1]
    for (link, weather), at in zip(pairs, _slots(len(pairs), scale.calm_seconds, latest, source), strict=True):
        lasts = source.uniform(*scale.weather_seconds)
        yield Fault(row=Row.NETWORK, lane="network", what=weather, at=at, seconds=lasts, link=link, weather=weather)


def _clock(scale: Scale, source: random.Random) -> Iterator[Fault]:
    steps = ["worker-2 +1 h", "scheduler -1 h", "relay +1 h", "worker-2 -1 h"][: scale.amounts[Row.CLOCK_STEP]]
    source.shuffle(steps)
    latest = scale.end - scale.step_seconds
    for what, at in zip(steps, _slots(len(steps), scale.calm_seconds, latest, source), strict=True):
        yield Fault(row=Row.CLOCK_STEP, lane="clock", what=what, at=at, seconds=scale.step_seconds)


def lanes_of(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """The faults of each lane, in their order."""
    lanes: dict[str, list[Fault]] = {}
    for fault in sorted(faults, key=lambda fault: fault.at):
        lanes.setdefault(fault.lane, []).append(fault)
    return lanes
