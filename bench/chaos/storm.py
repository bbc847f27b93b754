"""Breaking things: how each fault of the plan is done, and what was seen of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pika
import psycopg

from bench.chaos.arena import WORKERS, Arena
from bench.chaos.listener import Listener
from bench.chaos.plan import Fault, Row, Scale, lanes_of
from bench.chaos.proxy import Trap
from domain.jobs import Queue
from workers.topology import dead_letter_queue

_TRAP_SECONDS = (10.0, 75.0)  # at least, also at the end; at most: longer than any outage
_BACKLOG_SECONDS = 6.0
_RECOVERY_SECONDS = 90.0
_QUORUM_QUEUE_SETTLES = 2.0  # RabbitMQ 3.10: killed sooner, a new quorum queue has no leader ever after
_LATE_SECONDS = 90.0  # how long after its time a fault still happens

# What passes on the wire. A statement of ours that stores an order names it; AMQP 0-9-1 numbers its methods.
_ORDER = b"chaos-order-"
_COMMIT = b"COMMIT"
_BASIC_PUBLISH = b"\x00\x3c\x00\x28"

_REJECTED = "Received message for undefined actor"  # as Dramatiq puts it

_BACKLOG = "SELECT count(*) FROM jobs WHERE state <> 'dead' AND run_at <= payfleet_now()"
_NOW = "SELECT payfleet_now()"
_WORKS_AGAIN = "SELECT EXISTS (SELECT FROM payment_attempts WHERE sent_at > %s)"
_CONNECTED = """
SELECT count(DISTINCT application_name) FROM pg_stat_activity
WHERE application_name IN ('payfleet-web', 'payfleet-relay', 'payfleet-worker', 'payfleet-scheduler')
"""


@dataclass(kw_only=True)
class Happening:
    """A fault that was tried. `figures` are what was measured of it; `missed` says why it did not happen."""

    fault: Fault
    began: float
    ended: float = 0.0
    missed: str = ""
    figures: dict[str, float] = field(default_factory=dict[str, float])


class Storm:
    """Carries out a plan."""

    def __init__(self, arena: Arena, listener: Listener, scale: Scale, faults: Sequence[Fault]) -> None:
        self._arena = arena
        self._listener = listener
        self._scale = scale
        self._faults = faults
        self._started = 0.0
        self.happened: list[Happening] = []
        self.struck: dict[str, int] = {}
        self._how: Mapping[Row, Callable[[Fault, Happening], Awaitable[None]]] = {
            Row.WORKER_KILLED: self._kill_workers,
            Row.RELAY_KILLED: self._kill_relay,
            Row.WEB_KILLED: self._kill_web,
            Row.BROKER_DOWN: self._break_broker,
            Row.POSTGRES_DOWN: self._break_postgres,
            Row.MEMORY_ALARM: self._raise_alarm,
            Row.REDIS_LOST: self._lose_redis,
            Row.COMMIT_LOST: self._lose_commit,
            Row.BROKER_EMPTIED: self._empty_broker,
            Row.CLOCK_STEP: self._step_clock,
            Row.IDLE_TRANSACTION: self._sit_idle,
            Row.DEPLOY: self._run_old_release,
            Row.NETWORK: self._have_weather,
        }

    async def run(self) -> None:
        """Let it break, lane beside lane; Paystack is sick all the while, and already in the calm."""
        self._started = time.monotonic()
        await self._sicken_paystack()
        async with asyncio.TaskGroup() as group:
            for faults in lanes_of(self._faults).values():
                group.create_task(self._follow(faults))
        await self._heal_paystack()

    async def _follow(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at - self._now()))
            happening = Happening(fault=fault, began=self._now())
            self.happened.append(happening)
            if self._now() > self._scale.end + _LATE_SECONDS:
                happening.missed = "no time was left"
            else:
                try:
                    await self._how[fault.row](fault, happening)
                except Exception as error:  # noqa: BLE001 - a fault that fails to happen is reported, and the others go on
                    happening.missed = f"{type(error).__name__}: {error}"
            happening.ended = self._now()

    def _now(self) -> float:
        return time.monotonic() - self._started

    # Processes

    async def _kill_workers(self, fault: Fault, happening: Happening) -> None:
        """Wait a little for a backlog, so that there is something to lose."""
        await self._arena.until(lambda: self._backlog() > self._scale.backlog, seconds=_BACKLOG_SECONDS)
        happening.figures["backlog"] = await asyncio.to_thread(self._backlog_or_none) or 0
        for name in WORKERS if fault.what == "both" else (fault.what,):
            self._arena.kill(name)

    async def _kill_relay(self, fault: Fault, happening: Happening) -> None:
        after = fault.what == "after the confirm"
        trap = Trap(pattern=_BASIC_PUBLISH, after_reply=after, then=lambda: self._arena.kill("relay"))
        await self._catch("relay-rabbitmq", trap, happening)

    async def _kill_web(self, fault: Fault, happening: Happening) -> None:
        if fault.what == "at any moment":
            self._arena.kill_server_process()
            return
        after = fault.what == "after the statement"
        trap = Trap(pattern=_ORDER, after_reply=after, then=self._arena.kill_server_process)
        await self._catch("web-postgres", trap, happening)

    async def _run_old_release(self, fault: Fault, happening: Happening) -> None:
        """All workers are of an old release for a while: what it does not know, it rejects."""
        for name in WORKERS:
            await asyncio.to_thread(self._arena.stop, name)
        await asyncio.to_thread(self._arena.start, "worker-0", module="bench.chaos.old_release")
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._arena.stop, "worker-0")
        said = self._arena.log("worker-0").read_text(encoding="utf-8", errors="replace")
        happening.figures["rejected messages"] = said.count(_REJECTED)
        for name in WORKERS:
            await asyncio.to_thread(self._arena.start, name)

    async def _step_clock(self, fault: Fault, happening: Happening) -> None:
        if self._arena.clocks.missing:
            happening.missed = self._arena.clocks.missing
            return
        process, direction, _ = fault.what.split()
        self._arena.clocks.step(process, 3600 if direction.startswith("+") else -3600)
        await asyncio.sleep(fault.seconds)
        self._arena.clocks.step(process, 0)

    # Servers

    async def _break_broker(self, fault: Fault, happening: Happening) -> None:
        rabbitmq = self._arena.rabbitmq
        await asyncio.to_thread(rabbitmq.kill if fault.what == "killed" else rabbitmq.stop)
        await asyncio.to_thread(rabbitmq.start)
        await self._measure_recovery(happening)

    async def _raise_alarm(self, fault: Fault, happening: Happening) -> None:
        await asyncio.to_thread(self._arena.rabbitmq.raise_memory_alarm)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._arena.rabbitmq.clear_memory_alarm)
        await self._measure_recovery(happening)

    async def _empty_broker(self, fault: Fault, happening: Happening) -> None:
        if fault.what == "wiped":
            with self._listener.deaf():
                await asyncio.to_thread(self._arena.rabbitmq.wipe)
                await asyncio.to_thread(self._arena.rabbitmq.start)
        else:
            await asyncio.to_thread(self._purge_or_delete, delete=fault.what == "deleted")
        await self._measure_recovery(happening)
        await asyncio.sleep(_QUORUM_QUEUE_SETTLES)

    def _purge_or_delete(self, *, delete: bool) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self._arena.rabbitmq.url))
        channel = connection.channel()
        for queue in Queue:
            for name in (queue.value, dead_letter_queue(queue)):
                if delete:
                    channel.queue_delete(name)
                else:
                    channel.queue_purge(name)
        connection.close()

    async def _break_postgres(self, fault: Fault, happening: Happening) -> None:
        postgres = self._arena.postgres
        await asyncio.to_thread(postgres.kill if fault.what == "kill -9" else postgres.stop_immediately)
        await asyncio.to_thread(postgres.start)
        seconds = await self._arena.until(lambda: self._arena.look(_CONNECTED)[0][0] == 4, seconds=_RECOVERY_SECONDS)
        if seconds is not None:
            happening.figures["pools back after, s"] = seconds
        await self._measure_recovery(happening)

    async def _lose_redis(self, fault: Fault, happening: Happening) -> None:
        del happening
        await asyncio.to_thread(self._arena.redis.flush)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self._arena.redis.stop)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._arena.redis.start)

    async def _sit_idle(self, fault: Fault, happening: Happening) -> None:
        """Hold a snapshot: no dead row can be cleaned away meanwhile."""
        connection = await asyncio.to_thread(psycopg.connect, self._arena.postgres.url)
        try:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            await asyncio.to_thread(connection.execute, "SELECT count(*) FROM jobs")
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(connection.execute, "SELECT 1")  # it was there all the time
            dead = await asyncio.to_thread(
                self._arena.look, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'jobs'"
            )
            happening.figures["dead rows in the ledger"] = dead[0][0]
        finally:
            connection.close()

    async def _measure_recovery(self, happening: Happening) -> None:
        """How long until a worker has a call under way again: everything between is then at work."""
        begun = time.monotonic()
        at = None
        while at is None:
            at = await asyncio.to_thread(self._now_or_none)
        works = await self._arena.until(lambda: self._arena.look(_WORKS_AGAIN, at)[0][0], seconds=_RECOVERY_SECONDS)
        if works is not None:
            happening.figures["at work after, s"] = time.monotonic() - begun

    # The network

    async def _lose_commit(self, fault: Fault, happening: Happening) -> None:
        # The web process stores an order in one statement that commits by itself, as the relay's all do.
        pattern = {"web-postgres": _ORDER, "worker-postgres": _COMMIT}.get(fault.link, b"")
        await self._catch(fault.link, Trap(pattern=pattern, after_reply=True), happening)

    async def _catch(self, link: str, trap: Trap, happening: Happening) -> None:
        least, most = _TRAP_SECONDS
        seconds = min(max(self._scale.end - self._now(), least), most)
        if not await self._arena.links[link].catch(trap, seconds=seconds):
            happening.missed = "nothing to strike came by in time"

    async def _have_weather(self, fault: Fault, happening: Happening) -> None:
        del happening
        link = self._arena.links[fault.link]
        latency = (0.3, 1.5) if fault.link == "worker-paystack" else (0.02, 0.3)
        with ExitStack() as stack:
            stack.enter_context(link.under(fault.weather, latency_seconds=latency))
            await asyncio.sleep(fault.seconds)

    # Paystack

    async def _sicken_paystack(self) -> None:
        """Rules for all calls: what is done and its answer lost, what goes wrong, and webhooks in disorder."""
        for rule in (
            {"kind": "lost_answer", "probability": 0.07},
            {"kind": "reset", "after_effect": True, "probability": 0.02},
            {"kind": "error", "after_effect": True, "body": "html", "status": 502, "probability": 0.02},
            {"kind": "error", "probability": 0.05},
            {"kind": "rate_limited", "reset_seconds": 1, "probability": 0.05},
            {"kind": "garbage", "probability": 0.05},
            {"kind": "latency", "latency_ms": 40_000, "probability": 0.05 if self._scale.storm_seconds > 300 else 0.01},
        ):
            await self._arena.control("faults", "POST", **rule)
        # No fault, but the world: every call takes its time.
        await self._arena.control("faults", "POST", kind="latency", latency_ms={"median": 150, "p99": 2_000})

    async def _heal_paystack(self) -> None:
        *faults, always = (await self._arena.control("faults", "GET"))["faults"]
        self.struck = {_named(rule): rule["hits"] for rule in faults} | {"calls": always["hits"]}
        await self._arena.control("faults", "DELETE")

    # Looking

    def dead_letters(self) -> int:
        """How many messages lie in the dead-letter queues."""
        connection = pika.BlockingConnection(pika.URLParameters(self._arena.rabbitmq.url))
        channel = connection.channel()
        try:
            found = [channel.queue_declare(dead_letter_queue(queue), passive=True) for queue in Queue]
        finally:
            connection.close()
        return sum(declared.method.message_count for declared in found)

    def _backlog(self) -> int:
        return self._arena.look(_BACKLOG)[0][0]

    def _backlog_or_none(self) -> int | None:
        try:
            return self._backlog()
        except psycopg.OperationalError:
            return None

    def _now_or_none(self) -> object:
        try:
            return self._arena.look(_NOW)[0][0]
        except psycopg.OperationalError:
            time.sleep(0.1)
            return None


def _named(rule: Mapping[str, Any]) -> str:
    match rule["kind"], rule["after_effect"]:
        case "lost_answer", _:
            return "lost: done, and the connection closed without an answer"
        case "reset", True:
            return "lost: done, and the connection reset"
        case "error", True:
            return f"lost: done, and answered with an HTML page of status {rule['status']}"
        case "garbage", _:
            return "lost: done, and answered with what is no JSON"
        case "error", False:
            return f"status {rule['status']}, nothing done"
        case "rate_limited", _:
            return "status 429"
        case "latency", _:
            return "late by 40 s, twice what Payfleet waits"
        case kind, _:
            return str(kind)
