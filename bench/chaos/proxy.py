"""A TCP proxy that misbehaves on demand: what a network, and a server that dies in the middle, do to a connection.

A *link* stands between one process and one server. Its weather is what all its connections meet for a while; a *trap*
waits for one request and strikes there, before the server has seen it or after the server has acted on it.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from ops.embedded.ports import LOOPBACK
from tests.servers import quiet_port

_CHUNK_BYTES = 64 * 1024
# SO_LINGER on, 0 seconds: closing then sends a reset instead of an orderly end.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Weather(StrEnum):
    """What the connections of a link meet."""

    CLEAR = "clear"
    LATENCY = "latency"
    """Every chunk is late by a random time."""
    RESET = "reset"
    """Connections break, and new ones break as soon as they are made."""
    STALL = "stall"
    """Nothing passes, and all of it passes later: a partition that TCP bridges."""
    BLACKHOLE = "blackhole"
    """What is sent is swallowed; nobody is told, until the weather clears and the connections prove dead."""
    HALF_CLOSE = "half-close"
    """The server's side seems to end, while the client's still goes somewhere."""


@dataclass(eq=False, kw_only=True)
class Trap:
    """Strikes the first request that contains `pattern`.

    With `after_reply` the server gets the request and acts, and its reply is lost; without, it never gets it. `then` is
    called at that moment (to kill somebody, say). Either way the connection breaks.
    """

    pattern: bytes
    after_reply: bool
    then: Callable[[], None] = lambda: None
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    def spring(self) -> None:
        self.then()
        self.sprung.set()


class Link:
    """The way from one process to one server; listens on `port`."""

    def __init__(self, name: str, upstream_port: int, *, seed: int = 0) -> None:
        self.name = name
        self.port = quiet_port()
        self.weather = Weather.CLEAR
        self.latency_seconds = (0.0, 0.0)
        self._upstream_port = upstream_port
        self._random = random.Random(f"{seed}/{name}")
        self._traps: list[Trap] = []
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._cleared = asyncio.Event()
        self._cleared.set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._cleared.set()
        self.break_connections()
        await asyncio.gather(*self._serving)

    @property
    def connections(self) -> int:
        """How many pass through it now."""
        return len(self._connections)

    def break_connections(self) -> None:
        """Reset every connection, both sides."""
        for connection in list(self._connections):
            connection.abort()

    @contextmanager
    def under(self, weather: Weather, *, latency_seconds: tuple[float, float] = (0.0, 0.0)) -> Generator[None]:
        """Have some weather for the length of a block."""
        self._cleared.clear()
        self.latency_seconds, self.weather = latency_seconds, weather
        match weather:
            case Weather.RESET:
                self.break_connections()
            case Weather.HALF_CLOSE:
                for connection in list(self._connections):
                    connection.half_close()
            case _:
                pass
        try:
            yield
        finally:
            if weather in {Weather.BLACKHOLE, Weather.HALF_CLOSE}:
                self.break_connections()
            self.weather = Weather.CLEAR
            self._cleared.set()

    async def catch(self, trap: Trap, *, seconds: float) -> bool:
        """Set a trap and wait for it; False (and the trap is gone) when nothing came in time."""
        self._traps.append(trap)
        try:
            await asyncio.wait_for(trap.sprung.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            if trap in self._traps:
                self._traps.remove(trap)
        return True

    def take_trap(self, chunk: bytes) -> Trap | None:
        """The trap that a request falls into; each catches one."""
        for trap in self._traps:
            if trap.pattern in chunk:
                self._traps.remove(trap)
                return trap
        return None

    async def pass_through(self) -> bool:
        """Wait as the weather demands; whether a chunk may go on at all."""
        match self.weather:
            case Weather.LATENCY:
                await asyncio.sleep(self._random.uniform(*self.latency_seconds))
            case Weather.STALL:
                await self._cleared.wait()
            case Weather.BLACKHOLE:
                return False
            case _:
                pass
        return True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(_Connection(self, reader, writer)))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: "_Connection") -> None:
        self._connections.add(connection)
        try:
            await connection.run(self._upstream_port)
        finally:
            connection.abort()
            self._connections.discard(connection)


class _Connection:
    """One client's connection and its other half to the server."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._from_client, self._to_client = reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._waiting_for_reply: Trap | None = None

    async def run(self, upstream_port: int) -> None:
        if self._link.weather is Weather.RESET:
            return
        try:
            from_server, self._to_server = await asyncio.open_connection(LOOPBACK, upstream_port)
        except OSError:
            return
        upward = asyncio.ensure_future(self._pump(self._from_client, self._to_server, self._may_ask))
        downward = asyncio.ensure_future(self._pump(from_server, self._to_client, self._may_answer))
        # The client's end may be half of the story (it still reads); the server's is the whole.
        try:
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
            if upward.done() and not downward.done():
                with suppress(OSError, RuntimeError):
                    self._to_server.write_eof()
                await asyncio.wait({downward}, timeout=1.0)
        finally:
            for pump in (upward, downward):
                pump.cancel()
            await asyncio.gather(upward, downward, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_pass: Callable[[bytes], bool]
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if not await self._link.pass_through():
                    continue
                if not may_pass(chunk):
                    return
                writer.write(chunk)
                await writer.drain()

    def _may_ask(self, chunk: bytes) -> bool:
        trap = self._link.take_trap(chunk)
        if trap is None or trap.after_reply:
            self._waiting_for_reply = trap or self._waiting_for_reply
            return True
        trap.spring()
        self.abort()
        return False

    def _may_answer(self, _chunk: bytes) -> bool:
        if self._waiting_for_reply is None:
            return True
        self._waiting_for_reply.spring()
        self.abort()
        return False

    def half_close(self) -> None:
        with suppress(OSError, RuntimeError):
            self._to_client.write_eof()

    def abort(self) -> None:
        for writer in (self._to_client, self._to_server):
            if writer is None:
                continue
            connected: socket.socket | None = writer.get_extra_info("socket")
            with suppress(OSError):
                if connected is not None:
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
