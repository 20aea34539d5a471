"""The store contract: one ordered log per run, the rows it folds to, bodies and indexes.

Everything is bytes here; `blackboard.encoding` knows what they mean. One writer per run is not
assumed but enforced: each append carries the leader's token and the head it expects.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from protocol.messages import CHUNK_BYTES, QueryRequest

RowKind = Literal[
    "run", "task", "direction", "choice", "step", "inquiry", "live", "journal", "dead", "segment"
]
ROW_KINDS: tuple[RowKind, ...] = (
    *("run", "task", "direction", "choice", "step", "inquiry"),
    *("live", "journal", "dead", "segment"),
)
WHOLE_KINDS: tuple[RowKind, ...] = ("run", "direction")
"""The kinds of which a new leader reads every row."""
LIVE_KINDS: tuple[RowKind, ...] = ("task", "inquiry")
"""Those of which it reads the rows that a row of kind `live` names, by the key `<kind>:<key>`.

Two more kinds are names only: `dead` has the tasks that are dead letters, `journal` those that ended well and
whose journal is whole, as `<number of the event that ended it, 12 digits>:<task>`. Rows of kind `segment`
name what has left the log for the archive.
"""


@dataclass(frozen=True, slots=True)
class RowWrite:
    """A row as it is from now on. A step's key is `<task>:<number, 6 digits>`."""

    kind: RowKind
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class ArtifactWrite:
    """An artifact to add. `terms` are the index entries that it is found by (`blackboard.queries`)."""

    id: str
    number: int
    digest: str
    value: bytes
    terms: tuple[str, ...]
    created_ms: int
    body: str | None = None
    """Digest of a body put before: the append keeps it from expiring, and is refused if it is absent."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One append: all or nothing. An empty batch confirms the token and renews the lease.

    `head` is the number of the last event before the batch. The first batch of a run has head 0
    and an empty token.
    """

    run: str
    token: str
    head: int
    events: Sequence[bytes] = ()
    rows: Sequence[RowWrite] = ()
    artifacts: Sequence[ArtifactWrite] = ()
    trim: int = 0
    """Groups of events that end before this position leave the log; rows and artifacts stay."""
    dropped: Sequence[tuple[RowKind, str]] = ()
    """Rows that go, by kind and key; one that is not there is gone already."""
    bodies: Sequence[str] = ()
    """Digests of further bodies put before, treated like those that artifacts name: each counts once."""
    released: Sequence[str] = ()
    """Digests that count once less: a body that nothing names any more expires `orphan_seconds` from now."""
    orphan_seconds: float = 3_600.0

    def digest(self) -> str:
        """Tells this batch from every other: its token is random, its head and events are its own."""
        head = f"{self.run} {self.token} {self.head}".encode()
        return hashlib.blake2b(b"".join([head, *self.events]), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a new leader starts from: the head, all rows of WHOLE_KINDS, and of LIVE_KINDS those that live."""

    head: int
    rows: Mapping[RowKind, Mapping[str, bytes]] = field(default_factory=dict[RowKind, Mapping[str, bytes]])


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event with its position in the log, from 1."""

    position: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Encoded artifacts, newest first, and the cursor of the next page (None at the end)."""

    artifacts: Sequence[bytes]
    cursor: int | None


@dataclass(frozen=True, slots=True)
class PutResult:
    received_bytes: int
    complete: bool


class BlackboardStore(Protocol):
    """:raises StoreUnavailable: from every method, when the store does not answer in time.

    After StoreUnavailable an append may or may not have happened: repeat the same batch until
    the answer is definite.
    """

    async def acquire(self, run: str, token: str, *, ttl_seconds: float) -> bool:
        """Takes the lead of a run under a fresh random token; False while another's lease lasts."""
        ...

    async def append(self, batch: Batch, *, ttl_seconds: float) -> int:
        """Appends and renews the lease; returns the new head. The batch already applied counts as applied.

        :raises StaleLeader: the token is not the lease's (and the batch was not applied).
        :raises HeadMismatch: the token is right but the head is not.
        :raises ArtifactConflict: an artifact's id exists with another digest.
        :raises NotFound: a body named by an artifact is absent.
        """
        ...

    async def release(self, run: str, token: str) -> None:
        """Gives up the lead, if it is still ours."""
        ...

    async def leader(self, run: str) -> str | None:
        """The token that leads now."""
        ...

    async def runs(self, *, active: bool) -> Sequence[str]:
        """Ids of the runs, newest first: the active ones, or all that have not been forgotten."""
        ...

    async def load(self, run: str) -> Loaded: ...

    async def head(self, run: str) -> int:
        """Number of the last event; 0 for a run that does not exist."""
        ...

    async def log(self, run: str, *, after: int, limit: int = 1000) -> Sequence[LogEntry]:
        """Events after a position, oldest first. Trimmed ones are left out."""
        ...

    async def rows(self, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> Mapping[str, bytes]:
        """Rows by key, or all of a kind; absent ones are left out."""
        ...

    async def artifacts(self, run: str, ids: Sequence[str]) -> Mapping[str, bytes]: ...

    async def query(self, run: str, query: QueryRequest, *, now_ms: int) -> Page:
        """At a cost that does not grow with the board: a bounded number of index entries is read."""
        ...

    async def put(
        self, run: str, digest: str, *, size_bytes: int, offset: int, chunk: bytes, ttl_seconds: float
    ) -> PutResult:
        """Writes a chunk of a body; chunks come in order. Expires unless an append names the digest in time.

        :raises InvalidMessage: a gap, too many bytes, or bytes that do not have the digest.
        """
        ...

    async def get(self, run: str, digest: str, *, offset: int, limit: int) -> tuple[bytes, int]:
        """A part of a body and its whole size. :raises NotFound: when there is none."""
        ...

    async def keep(self, run: str, digests: Sequence[str]) -> None:
        """Keeps bodies for as long as their run. :raises NotFound: when one is not there; the others stay."""
        ...

    async def can_sync(self) -> bool:
        """Whether `sync` can promise anything here."""
        ...

    async def sync(self) -> None:
        """Returns once all that was appended before is on disk, so that no power loss takes it back.

        :raises StoreUnavailable: when that is not so in time.
        """
        ...

    async def finish(self, run: str, head: int, *, keep_seconds: float) -> bool:
        """Takes an ended run off the active list and lets everything of it expire after `keep_seconds`.

        Only where `head` is its last position: in a store that came back older the run may not have ended.
        """
        ...

    async def reopen(self, run: str) -> None:
        """Puts an ended run on the active list again, and lets nothing of it expire.

        To be called by whoever holds its lease, before the append that makes it go on.
        """
        ...

    async def shared(self, name: str) -> tuple[int, bytes]:
        """A small record of the whole swarm and the number of its version; 0 and nothing before the first."""
        ...

    async def share(self, name: str, number: int, value: bytes) -> bool:
        """Writes version `number` of such a record; False when somebody has written it, or a later one.

        After StoreUnavailable it may or may not be written: `shared` tells, where values differ.
        """
        ...

    async def ping(self) -> Mapping[str, str]:
        """Facts about the server for health checks and `doctor`: version, durability, memory policy."""
        ...


async def load(store: BlackboardStore, run: str) -> Loaded:
    """`BlackboardStore.load` by the other methods."""
    head = await store.head(run)
    rows: dict[RowKind, Mapping[str, bytes]] = {}
    for kind in WHOLE_KINDS:
        rows[kind] = await store.rows(run, kind)
    live = await store.rows(run, "live")
    for kind in LIVE_KINDS:
        keys = [name.removeprefix(f"{kind}:") for name in live if name.startswith(f"{kind}:")]
        rows[kind] = await store.rows(run, kind, keys)
    return Loaded(head, rows)


async def put_whole(
    store: BlackboardStore, run: str, digest: str, body: bytes, *, ttl_seconds: float
) -> None:
    """Writes all chunks of a body; expires as in `put`."""
    for offset in range(0, len(body), CHUNK_BYTES):
        await store.put(
            run,
            digest,
            size_bytes=len(body),
            offset=offset,
            chunk=body[offset : offset + CHUNK_BYTES],
            ttl_seconds=ttl_seconds,
        )
