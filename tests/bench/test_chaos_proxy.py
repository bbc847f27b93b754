"""The fault proxy does to a connection what it says, and nothing when it says nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from bench.chaos.proxy import Link, Trap, Weather
from ops.embedded.ports import LOOPBACK
from tests.patience import eventually

AT_ONCE = 0.05


class Caller:
    """A client with one connection through the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, line: bytes) -> None:
        self.writer.write(line + b"\n")
        await self.writer.drain()

    async def hear(self, *, seconds: float = 5.0) -> bytes:
        return (await asyncio.wait_for(self.reader.readline(), seconds)).strip()

    async def ask(self, line: bytes) -> bytes:
        await self.say(line)
        return await self.hear()


class Stage:
    """A link to a server that notes each line and answers it in capitals, and the callers of a scene."""

    def __init__(self) -> None:
        self.acted: list[bytes] = []
        self.link: Link
        self._callers: list[Caller] = []
        self._serving: list[asyncio.Task[None]] = []

    async def caller(self) -> Caller:
        caller = Caller(*await asyncio.open_connection(LOOPBACK, self.link.port))
        self._callers.append(caller)
        return caller

    async def play(self, scene: "Scene") -> None:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        async with server, Link("test", server.sockets[0].getsockname()[1]) as self.link:
            await scene(self)
            for caller in self._callers:
                caller.writer.close()
        await asyncio.gather(*self._serving)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.get_running_loop().create_task(self._answer(reader, writer)))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.acted.append(line.strip())
                writer.write(line.upper())
        except ConnectionError:
            pass
        finally:
            writer.close()


Scene: TypeAlias = Callable[[Stage], Awaitable[None]]


def play(scene: Scene) -> None:
    asyncio.run(Stage().play(scene))


async def is_broken(caller: Caller) -> bool:
    """Whether the connection ended without another byte."""
    try:
        return await caller.hear() == b""
    except ConnectionError:
        return True


def test_in_clear_weather_everything_passes_both_ways() -> None:
    async def scene(stage: Stage) -> None:
        callers = [await stage.caller() for _ in range(3)]
        assert [await caller.ask(b"hello") for caller in callers] == [b"HELLO"] * 3
        assert stage.link.connections == 3
        assert stage.acted == [b"hello"] * 3

    play(scene)


def test_latency_is_spent_and_order_kept() -> None:
    async def scene(stage: Stage) -> None:
        caller = await stage.caller()
        with stage.link.under(Weather.LATENCY, latency_seconds=(0.2, 0.3)):
            await caller.say(b"one")
            with pytest.raises(TimeoutError):
                await caller.hear(seconds=0.1)
        await caller.say(b"two")
        assert [await caller.hear(), await caller.hear()] == [b"ONE", b"TWO"]
        assert stage.acted == [b"one", b"two"]

    play(scene)


def test_a_reset_breaks_what_is_there_and_what_comes_and_then_ends() -> None:
    async def scene(stage: Stage) -> None:
        before = await stage.caller()
        assert await before.ask(b"one") == b"ONE"
        with stage.link.under(Weather.RESET):
            with pytest.raises(ConnectionResetError):
                await before.hear()
            assert await is_broken(await stage.caller())
        after = await stage.caller()
        assert await after.ask(b"two") == b"TWO"
        assert stage.acted == [b"one", b"two"]

    play(scene)


def test_what_was_stalled_arrives_late_and_whole() -> None:
    async def scene(stage: Stage) -> None:
        caller = await stage.caller()
        with stage.link.under(Weather.STALL):
            await caller.say(b"late")
            with pytest.raises(TimeoutError):
                await caller.hear(seconds=AT_ONCE)
            assert stage.acted == []
        assert await caller.hear() == b"LATE"

    play(scene)


def test_what_a_blackhole_swallows_never_arrives_and_its_connection_dies_in_the_end() -> None:
    async def scene(stage: Stage) -> None:
        caller = await stage.caller()
        assert await caller.ask(b"one") == b"ONE"
        with stage.link.under(Weather.BLACKHOLE):
            await caller.say(b"gone")
            with pytest.raises(TimeoutError):
                await caller.hear(seconds=AT_ONCE)
        assert await is_broken(caller)
        assert stage.acted == [b"one"]

    play(scene)


def test_a_half_closed_connection_ends_for_the_client_alone() -> None:
    async def scene(stage: Stage) -> None:
        caller = await stage.caller()
        assert await caller.ask(b"one") == b"ONE"
        with stage.link.under(Weather.HALF_CLOSE):
            assert await caller.hear() == b""
            await caller.say(b"two")
            await asyncio.to_thread(eventually, lambda: stage.acted == [b"one", b"two"])

    play(scene)


@pytest.mark.parametrize(("after_reply", "seen"), [(False, []), (True, [b"COMMIT"])])
def test_a_trap_loses_the_request_or_its_reply_and_calls_at_that_moment(after_reply: bool, seen: list[bytes]) -> None:
    async def scene(stage: Stage) -> None:
        victim, bystander = await stage.caller(), await stage.caller()
        assert await victim.ask(b"BEGIN") == b"BEGIN"
        stage.acted.clear()
        moments: list[list[bytes]] = []
        trap = Trap(pattern=b"COMMIT", after_reply=after_reply, then=lambda: moments.append(list(stage.acted)))
        caught = asyncio.ensure_future(stage.link.catch(trap, seconds=5))
        await asyncio.sleep(0)
        await victim.say(b"COMMIT")
        assert await is_broken(victim)
        assert await caught
        assert moments == [seen] == [stage.acted]
        assert await bystander.ask(b"COMMIT") == b"COMMIT"

    play(scene)


def test_a_trap_that_catches_nothing_is_taken_away() -> None:
    async def scene(stage: Stage) -> None:
        caller = await stage.caller()
        assert not await stage.link.catch(Trap(pattern=b"COMMIT", after_reply=False), seconds=AT_ONCE)
        assert await caller.ask(b"COMMIT") == b"COMMIT"

    play(scene)
