"""A lean HTTP/1.1 client: ready-made bytes out, status and body back, on connections that are kept alive.

The driver shares the machine with what it measures. A general client costs more per request than the service does, so
this one knows only what it needs: one request at a time on a connection, answers with a Content-Length.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self, cast

from ops.embedded.ports import LOOPBACK

Done = Callable[[int, bytes], None]

BROKEN = 0  # the status of a request whose connection was lost


class _Connection(asyncio.Protocol):
    def __init__(self, client: "Client") -> None:
        self._client = client
        self._received = bytearray()
        self._done: Done | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, done: Done) -> None:
        assert self._transport is not None
        self._done = done
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        at = head.find(b"\r\ncontent-length:")
        line_end = head.find(b"\r\n", at + 17)
        length = int(head[at + 17 : line_end if line_end > 0 else None]) if at >= 0 else 0
        if len(self._received) < head_end + 4 + length:
            return
        body = bytes(self._received[head_end + 4 : head_end + 4 + length])
        self._received.clear()
        done, self._done = self._done, None
        assert done is not None
        self._client.give_back(self)
        done(int(head[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        done, self._done = self._done, None
        self._client.replace(self)
        if done is not None:
            done(BROKEN, b"")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Client:
    """A fixed number of connections to one port; requests beyond that wait in line, and their waiting counts."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._size = connections
        self._free: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._closing = False
        self._opening: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        for connection in self._all:
            connection.close()
        await asyncio.sleep(0)

    def submit(self, request: bytes, done: Done) -> None:
        """Send a request on a free connection, or as soon as one is free; `done` gets its status and body."""
        if self._free:
            self._free.pop().send(request, done)
        else:
            self._waiting.append((request, done))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and wait for its answer."""
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.submit(request, lambda status, body: future.set_result((status, body)))
        return await future

    def give_back(self, connection: _Connection) -> None:
        """Take a connection back after its answer."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def replace(self, connection: _Connection) -> None:
        """Open a new connection for one that was lost."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), LOOPBACK, self._port)
        self._all.add(connection)
        self.give_back(connection)
