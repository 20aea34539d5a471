"""The blackboard in Redis. Keys and the one script are documented at the head of `append.lua`."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from anyio import AsyncContextManagerMixin

from blackboard import redis_bodies, redis_query, redis_server
from blackboard.encoding import READABLE
from blackboard.redis_append import append, stored_value, unframe
from blackboard.redis_keys import Keys, Keyspace
from blackboard.redis_link import Command, RedisLink, RedisSettings, Reply, exchange, execute
from blackboard.store import Batch, Loaded, LogEntry, Page, PutResult, RowKind, load
from protocol.errors import StoreUnavailable, UnsupportedVersion
from protocol.messages import QueryRequest

DEFAULTS = RedisSettings()
PAGE = 1_000
"""Keys, fields or entries per command where there may be many."""
LOG_GROUPS = 100
"""Groups of events per read of the log."""
SHARED_VERSIONS = 16
"""Versions of a shared record that are kept, for whoever looks into what happened."""
GHOST_MS = 3_600_000
"""Age at which an id on the list of runs without a run is dropped."""
IMPLAUSIBLE_LEASES = 10
"""No coordinator's lease is so many times as long as another's."""


class RedisStore(AsyncContextManagerMixin):
    """A `BlackboardStore` over one Redis server, 7.0 or newer; `async with` opens and closes it.

    Entering raises StoreUnavailable when the server does not answer, or may evict data.
    """

    def __init__(self, url: str, settings: RedisSettings = DEFAULTS) -> None:
        self._url = url
        self._settings = settings
        self._keyspace = Keyspace(settings.prefix)
        self._link = RedisLink(url, settings, redis_server.Restarts().greet)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        try:
            redis_server.check(await redis_server.facts(self._link))
            yield self
        finally:
            await self._link.aclose()

    async def acquire(self, run: str, token: str, *, ttl_seconds: float) -> bool:
        """Repeated under the same token it says so again, and renews.

        Redis lets leases run out by its wall clock. One with far more time left than any lease gets was given
        before that clock was set back: it is taken away, or a dead leader's would last for as long.

        :raises UnsupportedVersion: a newer build wrote the run, or one too old.
        """
        keys = self._keyspace.run(run)
        written = await self._link.call("acquire", "HGET", keys.meta, "format")
        if written is not None and int(written) not in READABLE:
            raise UnsupportedVersion(f"format of run {run}", written.decode(), READABLE)
        ttl_ms = _milliseconds(ttl_seconds)
        take = ("SET", keys.lease, token, "NX", "GET", "PX", ttl_ms)
        holder, left_ms = await self._link.many("acquire", [take, ("PTTL", keys.lease)])
        if holder is not None and holder != token.encode() and left_ms > IMPLAUSIBLE_LEASES * ttl_ms:
            await self.release(run, holder.decode())
            holder = await self._link.call("acquire", *take)
        if holder is None:
            return True
        if holder != token.encode():
            return False
        return await self._link.call("acquire", "PEXPIRE", keys.lease, ttl_ms) == 1

    async def append(self, batch: Batch, *, ttl_seconds: float) -> int:
        keys = self._keyspace.run(batch.run)
        if batch.head == 0 and batch.events:
            await self._announce(batch.run, keys)
        return await append(self._link, keys.root, batch, ttl_seconds)

    async def _announce(self, run: str, keys: Keys) -> None:
        """Lists a run before its creation: a crash in between leaves an id, never an unlisted run."""
        exists, now = await self._link.many("append", [("EXISTS", keys.meta), ("TIME",)])
        if not exists:
            lists = (self._keyspace.runs, self._keyspace.active)
            await self._link.many("append", [("ZADD", name, _clock_ms(now), run) for name in lists])

    async def release(self, run: str, token: str) -> None:
        lease = self._keyspace.run(run).lease
        async with self._link.connection("release") as connection:
            _, holder = await exchange(connection, [("WATCH", lease), ("GET", lease)])
            if holder == token.encode():
                await execute(connection, [("DEL", lease)])
            else:
                await exchange(connection, [("UNWATCH",)])

    async def leader(self, run: str) -> str | None:
        holder = await self._link.call("leader", "GET", self._keyspace.run(run).lease)
        return None if holder is None else holder.decode()

    async def runs(self, *, active: bool) -> Sequence[str]:
        name = self._keyspace.active if active else self._keyspace.runs
        reply, now = await self._link.many("runs", [("ZRANGE", name, 0, -1, "REV", "WITHSCORES"), ("TIME",)])
        ids = [identity.decode() for identity in reply[::2]]
        exist = await self._each("runs", [("EXISTS", self._keyspace.run(run).meta) for run in ids])
        ghosts = [
            run
            for run, created, there in zip(ids, reply[1::2], exist, strict=True)
            if not there and int(created) < _clock_ms(now) - GHOST_MS
        ]
        if ghosts:
            await self._link.call("runs", "ZREM", name, *ghosts)
        return [run for run, there in zip(ids, exist, strict=True) if there]

    async def load(self, run: str) -> Loaded:
        return await load(self, run)

    async def head(self, run: str) -> int:
        return int(await self._link.call("head", "HGET", self._keyspace.run(run).meta, "head") or 0)

    async def log(self, run: str, *, after: int, limit: int = 1000) -> Sequence[LogEntry]:
        log = self._keyspace.run(run).log
        entries: list[LogEntry] = []
        while len(entries) < limit:
            groups = await self._link.call("log", "XRANGE", log, f"{after + 1}-0", "+", "COUNT", LOG_GROUPS)
            for identity, (_, framed) in groups:
                last = int(identity.partition(b"-")[0])
                entries += [entry for entry in unframe(last, framed) if entry.position > after]
                after = last
            if len(groups) < LOG_GROUPS:
                break
        return entries[:limit]

    async def rows(self, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> Mapping[str, bytes]:
        name = self._keyspace.run(run).rows(kind)
        if keys is not None:
            return await self._fields("rows", name, keys)
        found: dict[str, bytes] = {}
        async for page in self._scan("rows", "HSCAN", name):
            found.update((key.decode(), value) for key, value in zip(page[::2], page[1::2], strict=True))
        return found

    async def artifacts(self, run: str, ids: Sequence[str]) -> Mapping[str, bytes]:
        found = await self._fields("artifacts", self._keyspace.run(run).artifacts, ids)
        return {identity: stored_value(value) for identity, value in found.items()}

    async def query(self, run: str, query: QueryRequest, *, now_ms: int) -> Page:
        return await redis_query.query(self._link, self._keyspace.run(run), query, now_ms)

    async def put(
        self, run: str, digest: str, *, size_bytes: int, offset: int, chunk: bytes, ttl_seconds: float
    ) -> PutResult:
        return await redis_bodies.put(
            self._link,
            self._keyspace.run(run),
            digest,
            size_bytes=size_bytes,
            offset=offset,
            chunk=chunk,
            ttl_ms=_milliseconds(ttl_seconds),
        )

    async def get(self, run: str, digest: str, *, offset: int, limit: int) -> tuple[bytes, int]:
        return await redis_bodies.get(self._link, self._keyspace.run(run), digest, offset=offset, limit=limit)

    async def keep(self, run: str, digests: Sequence[str]) -> None:
        await redis_bodies.keep(self._link, self._keyspace.run(run), digests)

    async def can_sync(self) -> bool:
        return redis_server.can_sync(await redis_server.facts(self._link))

    async def sync(self) -> None:
        await redis_server.sync(self._link, self._keyspace.sync)

    async def finish(self, run: str, head: int, *, keep_seconds: float) -> bool:
        """The first call sets the time of expiry. From then on appends let what they add expire too.

        A server that comes back older has cut its connections: on the one that told the head, it still holds.
        """
        keys = self._keyspace.run(run)
        if await self.head(run) != head:
            return False
        if head:
            now = await self._link.call("finish", "TIME")
            wanted = _clock_ms(now) + _milliseconds(keep_seconds)
            _, expires_ms = await self._link.many(
                "finish",
                [("HSETNX", keys.meta, "expires_ms", wanted), ("HGET", keys.meta, "expires_ms")],
            )
            await self._expire(keys, int(expires_ms))
        async with self._link.connection("finish") as connection:
            (found,) = await exchange(connection, [("HGET", keys.meta, "head")])
            finished = int(found or 0) == head
            if finished:
                await exchange(connection, [("ZREM", self._keyspace.active, run)])
        if not finished:
            await self.reopen(run)
        return finished

    async def reopen(self, run: str) -> None:
        """On the list first: a crash half way leaves a run that its next leader finishes again."""
        keys = self._keyspace.run(run)
        created = await self._link.call("reopen", "ZSCORE", self._keyspace.runs, run)
        if created is not None:
            await self._link.call("reopen", "ZADD", self._keyspace.active, int(created), run)
            await self._link.call("reopen", "HDEL", keys.meta, "expires_ms")
            await self._on_each_key(keys, "PERSIST")

    async def _expire(self, keys: Keys, expires_ms: int) -> None:
        await self._on_each_key(keys, "PEXPIREAT", expires_ms)

    async def _on_each_key(self, keys: Keys, command: str, *values: int) -> None:
        """Those that name the others come last, so that a repetition finds all."""
        async for terms in self._scan(command, "SSCAN", keys.terms):
            indexes = [keys.index(term.decode()) for term in terms]
            await self._each(command, [(command, name, *values) for name in indexes])
        async for counted in self._scan(command, "HSCAN", keys.bodies):
            bodies = [keys.body(digest.decode()) for digest in counted[::2]]
            await self._each(command, [(command, name, *values) for name in bodies])
        await self._each(command, [(command, name, *values) for name in keys.fixed])

    async def shared(self, name: str) -> tuple[int, bytes]:
        key = self._keyspace.shared(name)
        for identity, (_, value) in await self._link.call("shared", "XREVRANGE", key, "+", "-", "COUNT", 1):
            return int(identity.partition(b"-")[0]), value
        return 0, b""

    async def share(self, name: str, number: int, value: bytes) -> bool:
        """A stream takes no number that is not above its last: so each version has one writer."""
        key, id_ = self._keyspace.shared(name), f"{number}-0"
        try:
            await self._link.call("share", "XADD", key, "MAXLEN", SHARED_VERSIONS, id_, "value", value)
        except StoreUnavailable as error:
            if "equal or smaller" in str(error):
                return False
            raise
        return True

    async def ping(self) -> Mapping[str, str]:
        return await redis_server.facts(self._link)

    async def _fields(self, operation: str, name: str, fields: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(fields), PAGE):
            part = fields[at : at + PAGE]
            values = await self._link.call(operation, "HMGET", name, *part)
            found.update((key, value) for key, value in zip(part, values, strict=True) if value is not None)
        return found

    async def _each(self, operation: str, commands: Sequence[Command]) -> list[Reply]:
        """Any number of commands, a page of them per round trip."""
        answers: list[Reply] = []
        for at in range(0, len(commands), PAGE):
            answers += await self._link.many(operation, commands[at : at + PAGE])
        return answers

    async def _scan(self, operation: str, command: str, name: str) -> AsyncIterator[list[bytes]]:
        cursor: bytes | int = 0
        while True:
            cursor, page = await self._link.call(operation, command, name, cursor, "COUNT", PAGE)
            if page:
                yield page
            if cursor == b"0":
                return


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _clock_ms(reply: Reply) -> int:
    """The answer to TIME in milliseconds."""
    seconds, micros = reply
    return int(seconds) * 1000 + int(micros) // 1000
