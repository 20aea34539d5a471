"""The way to a Redis server: one lean path for every command, bounded in time, without retries.

It uses redis-py for addresses, connections, authentication and parsing, but not its client, whose
retries would run a command twice after a lost reply. A repetition is the caller's decision.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from protocol.errors import StoreUnavailable

Argument = bytes | str | int
Command = tuple[Argument, ...]
Greet = Callable[[AbstractConnection], Awaitable[None]]
"""What is said first on a new connection."""
Reply = Any
"""What Redis sends: bytes, an integer, None, or a list of replies."""

REMEDIES: tuple[tuple[type[RedisError], str], ...] = (
    (OutOfMemoryError, "its memory is full: raise maxmemory, or let finished runs go"),
    (ReadOnlyError, "it is a replica: point the URL at the primary"),
    (BusyLoadingError, "it is still reading its data: wait"),
    (AuthenticationError, "correct the user and password in the URL"),
    (NoPermissionError, "allow the user all commands on this store's keys"),
)
MISCONF = "it cannot write to its disk: free space, look at its log, start it again if it goes on"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach and use a Redis server."""

    prefix: str = "swarm"
    """Every key begins with it; swarms that share a server need different ones."""
    timeout_seconds: float = 5.0
    """Longest wait for any one answer; longer and the store counts as unavailable."""
    connect_timeout_seconds: float = 2.0
    max_connections: int = 32
    """Further calls wait for a free connection."""
    idle_check_seconds: float = 15.0
    """A connection that was idle for longer is checked with a PING before it is used."""


def pack(command: Iterable[Argument]) -> bytes:
    """A command in the Redis protocol."""
    encoded = [
        part if isinstance(part, bytes) else part.encode() if isinstance(part, str) else b"%d" % part
        for part in command
    ]
    return b"*%d\r\n" % len(encoded) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded])


class RedisLink:
    """Commands to one server; replies come as Redis sends them."""

    def __init__(self, url: str, settings: RedisSettings, greet: Greet | None = None) -> None:
        self.settings = settings
        self._greet = greet
        # A factory only: its own lending costs more than a small command, and can lose a connection when
        # a waiting caller is cancelled.
        self._factory = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            # Each call is bounded here as a whole: redis-py's own limit is passed over by a black hole.
            socket_timeout=None,
            socket_connect_timeout=settings.connect_timeout_seconds,
            health_check_interval=settings.idle_check_seconds,
        )
        self._permits = anyio.Semaphore(settings.max_connections, fast_acquire=True)
        self._idle: list[AbstractConnection] = []

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._idle:
                await self._idle.pop().disconnect(nowait=True)

    async def call(self, operation: str, *command: Argument) -> Reply:
        """:raises StoreUnavailable: without an answer in time, or with an error for an answer."""
        return await self.send(operation, pack(command))

    async def send(self, operation: str, packed: bytes) -> Reply:
        """Like `call`, for a command packed before."""
        async with self.connection(operation) as connection:
            await connection.send_packed_command(packed)
            return await read_reply(connection)

    async def many(self, operation: str, commands: Sequence[Command]) -> list[Reply]:
        """Several commands in one round trip; each stands for itself."""
        if not commands:
            return []
        async with self.connection(operation) as connection:
            return await exchange(connection, commands)

    async def transaction(self, operation: str, commands: Sequence[Command]) -> list[Reply]:
        """Several commands at once, with nothing in between."""
        async with self.connection(operation) as connection:
            return await execute(connection, commands)

    @asynccontextmanager
    async def connection(self, operation: str) -> AsyncGenerator[AbstractConnection]:
        """A connection of one's own, for as long as one call may take.

        After any error or cancellation it is closed: a reply may still be on its way.
        """
        limit = self.settings.timeout_seconds
        with anyio.move_on_after(limit) as scope:
            try:
                async with self._permits, self._lend() as connection:
                    yield connection
            except (RedisError, OSError) as error:
                raise StoreUnavailable(operation, explain(error)) from error
        if scope.cancelled_caught:
            raise StoreUnavailable(operation, f"no answer in {limit:g} s")

    @asynccontextmanager
    async def _lend(self) -> AsyncGenerator[AbstractConnection]:
        connection = self._idle.pop() if self._idle else self._factory.make_connection()
        clean = False
        try:
            if connection.is_connected and await connection.can_read():
                await connection.disconnect(nowait=True)
            if not connection.is_connected:
                await connection.connect()
                if self._greet is not None:
                    await self._greet(connection)
            yield connection
            clean = True
        finally:
            if not clean:
                with anyio.CancelScope(shield=True):
                    await connection.disconnect(nowait=True)
            self._idle.append(connection)


def explain(error: Exception) -> str:
    """The message of an error with what an operator can do about it."""
    text = str(error) or type(error).__name__
    remedies = [remedy for kind, remedy in REMEDIES if isinstance(error, kind)]
    if text.startswith("MISCONF"):
        remedies.append(MISCONF)
    return "; ".join((text, *remedies))


async def read_reply(connection: AbstractConnection) -> Reply:
    """:raises ResponseError: when the reply is an error."""
    return await connection.read_response()  # pyright: ignore[reportUnknownVariableType]


async def exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    await connection.send_packed_command(b"".join(map(pack, commands)))
    return [await read_reply(connection) for _ in commands]


async def execute(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    """MULTI … EXEC; an empty list when a watched key has changed.

    :raises ResponseError: the first error among the answers.
    """
    answers = await exchange(connection, [("MULTI",), *commands, ("EXEC",)])
    results: list[Reply] = answers[-1] or []
    for result in results:
        if isinstance(result, ResponseError):
            raise result
    return results
