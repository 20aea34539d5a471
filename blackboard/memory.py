"""The blackboard in memory, for simulation and unit tests: the same contract, no server, virtual time.

Several coordinators of one process share one store. It can lose a reply and be put back in time,
which a test cannot ask of a server.
"""

import copy
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from blackboard.bodies import check_body, check_chunk
from blackboard.encoding import decode_artifact
from blackboard.queries import matches, query_terms
from blackboard.store import (
    ArtifactWrite,
    Batch,
    Loaded,
    LogEntry,
    Page,
    PutResult,
    RowKind,
    load,
)
from protocol.errors import ArtifactConflict, HeadMismatch, NotFound, StaleLeader, StoreUnavailable
from protocol.messages import QueryRequest

Entry = tuple[int, str]
"""Number and id of an artifact."""
NEVER = float("inf")


@dataclass(slots=True)
class _Body:
    data: bytes
    complete: bool
    expires: float
    names: int = 0
    """How many artifacts and steps name it."""


@dataclass(slots=True)
class _Run:
    head: int = 0
    digest: str = ""
    created: int = 0
    active: bool = True
    expires: float = NEVER
    token: str = ""
    token_expires: float = 0.0
    log: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list[tuple[int, tuple[bytes, ...]]])
    rows: dict[RowKind, dict[str, bytes]] = field(default_factory=dict[RowKind, dict[str, bytes]])
    artifacts: dict[str, ArtifactWrite] = field(default_factory=dict[str, ArtifactWrite])
    index: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    bodies: dict[str, _Body] = field(default_factory=dict[str, _Body])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All runs at one moment, and what they share."""

    runs: Mapping[str, _Run]
    shared: Mapping[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])


class MemoryStore:
    """A `BlackboardStore`. `now` gives seconds; leases and bodies expire by it."""

    def __init__(self, now: Callable[[], float] = anyio.current_time) -> None:
        self._now = now
        self._runs: dict[str, _Run] = {}
        self._shared: dict[str, tuple[int, bytes]] = {}
        self._created = 0
        self._replies_to_lose = 0

    def lose_replies(self, count: int = 1) -> None:
        """The next appends are applied, and their callers told that the store did not answer."""
        self._replies_to_lose += count

    def snapshot(self) -> Snapshot:
        return Snapshot(copy.deepcopy(self._runs), dict(self._shared))

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to an earlier moment, like a server that lost what came after."""
        self._runs = copy.deepcopy(dict(snapshot.runs))
        self._shared = dict(snapshot.shared)

    async def acquire(self, run: str, token: str, *, ttl_seconds: float) -> bool:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        if self._token(state) not in {"", token}:
            return False
        state.token, state.token_expires = token, self._now() + ttl_seconds
        return True

    async def append(self, batch: Batch, *, ttl_seconds: float) -> int:
        await anyio.lowlevel.checkpoint()
        state = self._run(batch.run)
        digest = batch.digest()
        holds = batch.token != "" and self._token(state) == batch.token
        done = batch.head + len(batch.events)
        if not (batch.events and state.head == done and state.digest == digest):
            self._check(state, batch, holds)
            self._apply(state, batch, digest)
        if holds:
            state.token_expires = self._now() + ttl_seconds
        if self._replies_to_lose:
            self._replies_to_lose -= 1
            raise StoreUnavailable("append", "the reply was lost on purpose")
        return done

    def _check(self, state: _Run, batch: Batch, holds: bool) -> None:
        creates = batch.token == "" and batch.head == 0 and batch.events
        if not holds and not creates:
            raise StaleLeader(batch.run)
        if state.head != batch.head:
            raise HeadMismatch(batch.run, batch.head, state.head)
        given: dict[str, str] = {}
        for artifact in batch.artifacts:
            known = state.artifacts.get(artifact.id)
            digest = given.setdefault(artifact.id, artifact.digest if known is None else known.digest)
            if digest != artifact.digest:
                raise ArtifactConflict(artifact.id)
            if artifact.body is not None and self._body(state, artifact.body) is None:
                raise NotFound("body", artifact.body)
        for body in batch.bodies:
            if self._body(state, body) is None:
                raise NotFound("body", body)

    def _apply(self, state: _Run, batch: Batch, digest: str) -> None:
        if batch.events:
            if state.head == 0:
                self._created += 1
                state.created = self._created
            state.head += len(batch.events)
            state.digest = digest
            state.log.append((state.head, tuple(batch.events)))
        del state.log[: bisect_left(state.log, (batch.trim,))]
        for row in batch.rows:
            state.rows.setdefault(row.kind, {})[row.key] = row.value
        for kind, key in batch.dropped:
            state.rows.get(kind, {}).pop(key, None)
        for artifact in batch.artifacts:
            if artifact.id not in state.artifacts:
                state.artifacts[artifact.id] = artifact
                for term in artifact.terms:
                    insort(state.index.setdefault(term, []), (artifact.number, artifact.id))
                if artifact.body is not None:
                    _name(state.bodies[artifact.body])
        for body in batch.bodies:
            _name(state.bodies[body])
        self._release(state, batch)

    async def release(self, run: str, token: str) -> None:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        if state.token == token:
            state.token = ""

    async def leader(self, run: str) -> str | None:
        await anyio.lowlevel.checkpoint()
        return self._token(self._run(run)) or None

    async def runs(self, *, active: bool) -> Sequence[str]:
        await anyio.lowlevel.checkpoint()
        listed = [(self._run(run).created, run) for run in tuple(self._runs)]
        return [
            run
            for created, run in sorted(listed, reverse=True)
            if created and (self._runs[run].active or not active)
        ]

    async def load(self, run: str) -> Loaded:
        return await load(self, run)

    async def head(self, run: str) -> int:
        await anyio.lowlevel.checkpoint()
        return self._run(run).head

    async def log(self, run: str, *, after: int, limit: int = 1000) -> Sequence[LogEntry]:
        await anyio.lowlevel.checkpoint()
        groups = self._run(run).log
        entries: list[LogEntry] = []
        for last, events in groups[bisect_left(groups, (after + 1,)) :]:
            first = last - len(events) + 1
            entries += [LogEntry(at, event) for at, event in enumerate(events, first) if at > after]
            if len(entries) >= limit:
                break
        return entries[:limit]

    async def rows(self, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> Mapping[str, bytes]:
        await anyio.lowlevel.checkpoint()
        rows = self._run(run).rows.get(kind, {})
        return dict(rows) if keys is None else {key: rows[key] for key in keys if key in rows}

    async def artifacts(self, run: str, ids: Sequence[str]) -> Mapping[str, bytes]:
        await anyio.lowlevel.checkpoint()
        artifacts = self._run(run).artifacts
        return {identity: artifacts[identity].value for identity in ids if identity in artifacts}

    async def query(self, run: str, query: QueryRequest, *, now_ms: int) -> Page:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        shortest = min((state.index.get(term, []) for term in query_terms(query)), key=len)
        end = len(shortest) if query.cursor is None else bisect_left(shortest, (query.cursor, ""))
        found: list[bytes] = []
        for at in reversed(range(end)):
            number, identity = shortest[at]
            value = state.artifacts[identity].value
            if matches(decode_artifact(value), query, now_ms):
                found.append(value)
                if len(found) == query.limit:
                    return Page(found, number if at else None)
        return Page(found, None)

    async def put(
        self, run: str, digest: str, *, size_bytes: int, offset: int, chunk: bytes, ttl_seconds: float
    ) -> PutResult:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        expires = self._now() + ttl_seconds
        body = self._body(state, digest)
        if body is not None:
            body.expires = max(body.expires, expires)
            return PutResult(size_bytes, complete=True)
        part = self._alive(state, digest)
        data = b"" if part is None else part.data
        check_chunk(size_bytes=size_bytes, offset=offset, length=len(chunk), received_bytes=len(data))
        data = data[:offset] + chunk + data[offset + len(chunk) :]
        if len(data) >= size_bytes:
            state.bodies.pop(digest, None)
            check_body(digest, data)
        state.bodies[digest] = _Body(data, len(data) >= size_bytes, expires)
        return PutResult(len(data), len(data) >= size_bytes)

    async def get(self, run: str, digest: str, *, offset: int, limit: int) -> tuple[bytes, int]:
        await anyio.lowlevel.checkpoint()
        body = self._body(self._run(run), digest)
        if body is None:
            raise NotFound("body", digest)
        return body.data[offset : offset + limit], len(body.data)

    async def keep(self, run: str, digests: Sequence[str]) -> None:
        await anyio.lowlevel.checkpoint()
        for digest in digests:
            body = self._body(self._run(run), digest)
            if body is None:
                raise NotFound("body", digest)
            body.expires = NEVER

    async def can_sync(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    async def sync(self) -> None:
        """There is no disk: what is here is as safe as it gets."""
        await anyio.lowlevel.checkpoint()

    async def finish(self, run: str, head: int, *, keep_seconds: float) -> bool:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        if state.head != head:
            return False
        state.active = False
        if state.head:
            state.expires = min(state.expires, self._now() + keep_seconds)
        return True

    async def reopen(self, run: str) -> None:
        await anyio.lowlevel.checkpoint()
        state = self._run(run)
        if state.head:
            state.active, state.expires = True, NEVER

    async def shared(self, name: str) -> tuple[int, bytes]:
        await anyio.lowlevel.checkpoint()
        return self._shared.get(name, (0, b""))

    async def share(self, name: str, number: int, value: bytes) -> bool:
        await anyio.lowlevel.checkpoint()
        if number <= self._shared.get(name, (0, b""))[0]:
            return False
        self._shared[name] = number, value
        return True

    async def ping(self) -> Mapping[str, str]:
        await anyio.lowlevel.checkpoint()
        return {
            "version": "memory",
            "loading": "0",
            "maxmemory_policy": "noeviction",
            "durability": "accepted",
        }

    def _release(self, state: _Run, batch: Batch) -> None:
        for digest in batch.released:
            body = self._body(state, digest)
            if body is not None:
                body.names = max(0, body.names - 1)
                if not body.names:
                    body.expires = self._now() + batch.orphan_seconds

    def _run(self, run: str) -> _Run:
        state = self._runs.get(run)
        if state is None or state.expires <= self._now():
            state = self._runs[run] = _Run()
        return state

    def _token(self, state: _Run) -> str:
        return state.token if state.token_expires > self._now() else ""

    def _alive(self, state: _Run, digest: str) -> _Body | None:
        body = state.bodies.get(digest)
        return body if body is not None and body.expires > self._now() else None

    def _body(self, state: _Run, digest: str) -> _Body | None:
        body = self._alive(state, digest)
        return body if body is not None and body.complete else None


def _name(body: _Body) -> None:
    body.names += 1
    body.expires = NEVER
