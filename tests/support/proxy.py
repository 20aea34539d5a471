"""A TCP proxy between a client and a server, that can misbehave on demand."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Self

PIECE_BYTES = 7
"""Bytes of a piece, where bytes arrive in pieces."""
HELD_SECONDS = 0.1
"""How long bytes are held back, where several writes arrive as one."""


class Proxy:
    """Listens on loopback and passes bytes on to `port`, until told otherwise."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._replies_to_drop = 0
        self._replies_to_pass = 0
        self._delay_seconds = 0.0
        self._cut = False
        self._hole = ""
        self._pieces = False
        self._merged = False
        self.port = 0
        self.dropped = 0
        """Replies that were dropped so far."""

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """A running proxy, closed with all its connections at the end."""
        proxy = cls(port)
        proxy._server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = proxy._server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            proxy._server.close()
            await proxy._end_connections()

    def url(self, url: str) -> str:
        """The server's URL, by way of the proxy."""
        return url.replace(f":{self._upstream}", f":{self.port}")

    def drop_replies(self, count: int = 1, *, after: int = 0) -> None:
        """Replies that never arrive, once `after` others have passed; 0 lets all pass again.

        The server has done its work; the connection ends instead.
        """
        self._replies_to_drop = count
        self._replies_to_pass = after

    def delay(self, seconds: float) -> None:
        """Every reply waits that long from now on."""
        self._delay_seconds = seconds

    async def cut(self) -> None:
        """Ends all connections and refuses new ones until `mend`."""
        self._cut = True
        await self._end_connections()

    def swallow(self, what: Literal["requests", "replies"]) -> None:
        """One way is a black hole from now on: the connection stays, and nothing comes through."""
        self._hole = what

    def split(self) -> None:
        """Bytes arrive in small pieces from now on, and now and then many at once."""
        self._pieces = True

    def merge(self) -> None:
        """What was written within a while arrives at once from now on."""
        self._merged = True

    def mend(self) -> None:
        """All is well again. Bytes that were swallowed never arrive, so those connections end."""
        self._cut, self._pieces, self._merged, self._delay_seconds = False, False, False, 0.0
        if self._hole:
            self._hole = ""
            for handler in tuple(self._handlers):
                handler.cancel()

    async def _end_connections(self) -> None:
        for handler in tuple(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            if not self._cut:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._handlers.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        directions = [
            asyncio.create_task(self._requests(reader, up_writer)),
            asyncio.create_task(self._replies(up_reader, writer)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            up_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await self._read(reader):
                if self._hole != "requests":
                    await self._write(writer, data)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        if self._merged:
            await asyncio.sleep(HELD_SECONDS)  # the reader goes on collecting
        return await reader.read(1 << 16)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        while self._pieces and len(data) > PIECE_BYTES and random.random() < 0.9:
            length = random.randrange(1, PIECE_BYTES)
            writer.write(data[:length])
            await writer.drain()
            await asyncio.sleep(0)
            data = data[length:]
        writer.write(data)
        await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await self._read(reader):
                if self._hole == "replies":
                    continue
                if self._replies_to_pass:
                    self._replies_to_pass -= 1
                elif self._replies_to_drop:
                    self._replies_to_drop -= 1
                    self.dropped += 1
                    return
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await self._write(writer, data)
