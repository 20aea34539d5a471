"""Segments that have left a run's log: a compressed body each, and a row that names it in a chain of digests.

A body is JSON lines, one event each. Bodies and rows lie in the store, like all that must outlive a
coordinator, and expire with the run.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError

from blackboard.condensing import condensed
from blackboard.encoding import decode_event, encode_event
from blackboard.events import JournalShared, StepsRecorded
from blackboard.store import BlackboardStore, LogEntry, RowWrite
from protocol.errors import BrokenArchive, NotFound
from protocol.messages import CHUNK_BYTES, BodyRef

LEVEL = 3
"""Of zlib's nine: a third of the time of the default for a tenth more bytes."""
FIRST_CHAIN = ""
RECORDED = tuple(f'["{kind}",'.encode() for kind in (StepsRecorded.kind, JournalShared.kind))
"""What events begin with that hold steps."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Events `first` to `last` of a log. `chain` is the digest of the chain before it and of its lines."""

    first: int
    last: int
    body: BodyRef
    chain: str

    def row(self) -> RowWrite:
        return RowWrite("segment", f"{self.first:012d}", _SEGMENT.dump_json(self))


_SEGMENT = TypeAdapter(Segment)


def pack(events: Sequence[bytes], first: int, chain: str) -> tuple[Segment, bytes]:
    """The segment that begins with event `first`, and its body. `chain` is that of the one before it.

    Steps are condensed: journals are kept as rows, and their digests prove them.
    """
    lines = b"\n".join([_shortened(event) if event.startswith(RECORDED) else event for event in events])
    body = zlib.compress(lines, LEVEL)
    ref = BodyRef(digest=sha256(body).hexdigest(), size_bytes=len(body))
    return Segment(first, first + len(events) - 1, ref, _chained(chain, lines)), body


def _shortened(data: bytes) -> bytes:
    event = decode_event(data)
    if not isinstance(event, StepsRecorded | JournalShared):
        return data
    return encode_event(replace(event, steps=tuple(map(condensed, event.steps))))


def _chained(chain: str, lines: bytes) -> str:
    return sha256(chain.encode() + lines).hexdigest()


def unpack(segment: Segment, body: bytes, chain: str) -> list[LogEntry]:
    """The events of a segment. :raises BrokenArchive: for anything else than what was packed."""
    if sha256(body).hexdigest() != segment.body.digest:
        raise BrokenArchive(segment.first, segment.last, "the body does not have its digest")
    lines = zlib.decompress(body)
    entries = [LogEntry(at, event) for at, event in enumerate(lines.split(b"\n"), segment.first)]
    if _chained(chain, lines) != segment.chain or entries[-1].position != segment.last:
        raise BrokenArchive(segment.first, segment.last, "the chain of digests is broken here")
    return entries


class Archive:
    """Reads what is archived of one run."""

    def __init__(self, store: BlackboardStore, run: str) -> None:
        self._store = store
        self._run = run
        self._segments: Sequence[Segment] = ()

    async def segments(self) -> Sequence[Segment]:
        """Oldest first.

        :raises BrokenArchive: for a row that cannot be read.
        :raises StoreUnavailable:
        """
        rows = await self._store.rows(self._run, "segment")
        self._segments = [_read(key, row) for key, row in sorted(rows.items())]
        return self._segments

    async def after(self, position: int) -> Sequence[LogEntry]:
        """Events after a position, up to the end of the segment that has the first of them; none if none has.

        :raises BrokenArchive:
        :raises StoreUnavailable:
        """
        if not self._segments or self._segments[-1].last <= position:
            await self.segments()
        before = FIRST_CHAIN
        for segment in self._segments:
            if segment.first <= position + 1 <= segment.last:
                entries = unpack(segment, await self._body(segment), before)
                return [entry for entry in entries if entry.position > position]
            before = segment.chain
        return ()

    async def _body(self, segment: Segment) -> bytes:
        parts: list[bytes] = []
        offset, digest = 0, segment.body.digest
        try:
            while offset < segment.body.size_bytes:
                data, _ = await self._store.get(self._run, digest, offset=offset, limit=CHUNK_BYTES)
                if not data:
                    break
                parts.append(data)
                offset += len(data)
        except NotFound as error:
            raise BrokenArchive(segment.first, segment.last, "the body is missing") from error
        return b"".join(parts)


def _read(key: str, row: bytes) -> Segment:
    try:
        return _SEGMENT.validate_json(row)
    except ValidationError as error:
        raise BrokenArchive(int(key), int(key), "the row that names the body cannot be read") from error
