"""Puts the old segments of a run's log away, one after the other, before an append takes them off the log.

The body is written first, the row that names it with the append that trims: a leader that dies in between
leaves a body that expires, and the next one packs the same events again.
"""

from collections.abc import Sequence

import anyio

from blackboard.store import put_whole
from coordinator.archive import FIRST_CHAIN, Archive, Segment, pack
from coordinator.group_commit import GroupCommit
from coordinator.observations import StoreRetry
from coordinator.office import Office
from coordinator.segments import Leaving, whole_segments
from protocol.errors import StoreUnavailable

PAUSE_SECONDS = 1.0
"""Time until a store is asked again that did not answer."""
COMMIT_SECONDS = 0.05
SEGMENTS_AT_ONCE = 50


class Archiving:
    """Follows the head of one run, as long as its lead lasts."""

    def __init__(self, office: Office, group: GroupCommit) -> None:
        self._office = office
        self._group = group
        self._run = group.run.state.spec.run
        self._last: tuple[int, str] | None = None
        """Number of the last event that is archived, and the chain up to it; None before they were read."""

    async def keep_up(self) -> None:
        """Reads nothing of the store before there is a segment too many."""
        while True:
            await self._group.archived.due()
            await anyio.sleep(COMMIT_SECONDS)  # the append that made it due is under way
            try:
                await self._look()
            except StoreUnavailable:
                self._office.observers.notify(StoreRetry(self._run, "archive"))
                await anyio.sleep(PAUSE_SECONDS)

    async def _look(self) -> None:
        retention = self._office.settings.retention
        whole = whole_segments(self._group.committed, retention.log_events, retention.segment_events)
        if self._last is None:
            segments = await Archive(self._office.store, self._run).segments()
            self._last = (segments[-1].last, segments[-1].chain) if segments else (0, FIRST_CHAIN)
        while self._last[0] < whole:
            packed: list[Segment] = []
            last, chain = self._last
            while last < whole and len(packed) < SEGMENTS_AT_ONCE:
                count = min(retention.segment_events, whole - last)
                entries = await self._office.store.log(self._run, after=last, limit=count)
                segment, body = pack([entry.event for entry in entries], entries[0].position, chain)
                await put_whole(
                    self._office.store,
                    self._run,
                    segment.body.digest,
                    body,
                    ttl_seconds=retention.orphan_seconds,
                )
                packed.append(segment)
                last, chain = segment.last, segment.chain
            await self._take_off(packed)
            self._last = last, chain
        self._group.archived.expect(self._last[0] + retention.log_events + retention.segment_events)

    async def _take_off(self, segments: Sequence[Segment]) -> None:
        """Waits for the append that does it: a new event, or the next renewal of the lease."""
        leaving = Leaving(
            segments[-1].last + 1,
            [segment.row() for segment in segments],
            [segment.body.digest for segment in segments],
        )
        self._group.archived.put_away(leaving)
        while True:
            await anyio.sleep(COMMIT_SECONDS)
            if self._group.trimmed >= leaving.trim:
                return
