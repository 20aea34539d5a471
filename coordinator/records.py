"""Reads what the store holds of runs, typed: for the commands. Nothing is changed here."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import anyio

from blackboard.encoding import (
    decode_artifact,
    decode_direction,
    decode_event,
    decode_spec,
    decode_task,
    decode_totals,
)
from blackboard.events import Event
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow, TaskRow, Totals
from blackboard.store import BlackboardStore
from protocol.artifacts import Artifact
from protocol.errors import NotFound, UserError
from protocol.messages import QueryRequest

PAGE = 200
POLL_SECONDS = 0.25
OPERATOR = "*"
"""Sees every artifact that has not expired."""


class AmbiguousIdError(UserError):
    """A prefix that several ids share."""

    def __init__(self, prefix: str, count: int) -> None:
        super().__init__(f"{prefix!r} is the beginning of {count} runs; give more of the id")


@dataclass(frozen=True, slots=True)
class Logged:
    """An event and its position in the run's log, from 1."""

    position: int
    event: Event


class Records:
    """Runs as the store has them."""

    def __init__(self, store: BlackboardStore) -> None:
        self._store = store

    async def find(self, prefix: str) -> str:
        """The id of the run that begins so; `latest` is the newest.

        :raises NotFound: when there is none.
        :raises AmbiguousIdError: when there are several.
        """
        runs = await self._store.runs(active=False)
        if prefix == "latest" and runs:
            return runs[0]
        matching = [run for run in runs if run.startswith(prefix)]
        if prefix in matching:
            return prefix
        if not prefix or not matching:
            raise NotFound("run", prefix)
        if len(matching) > 1:
            raise AmbiguousIdError(prefix, len(matching))
        return matching[0]

    async def runs(self, *, active: bool = False) -> Sequence[Totals]:
        """Newest first."""
        found = [await self._totals(run) for run in await self._store.runs(active=active)]
        return [totals for totals in found if totals is not None]

    async def _totals(self, run: str) -> Totals | None:
        row = (await self._store.rows(run, "run", ["totals"])).get("totals")
        return None if row is None else decode_totals(row)

    async def totals(self, run: str) -> Totals:
        """:raises NotFound: when there is no such run."""
        totals = await self._totals(run)
        if totals is None:
            raise NotFound("run", run)
        return totals

    async def spec(self, run: str) -> RunSpec:
        """:raises NotFound: when there is no such run."""
        row = (await self._store.rows(run, "run", ["spec"])).get("spec")
        if row is None:
            raise NotFound("run", run)
        return decode_spec(row)

    async def tasks(self, run: str) -> Sequence[TaskRow]:
        """All tasks, in the order of their creation."""
        rows = await self._store.rows(run, "task")
        return sorted(map(decode_task, rows.values()), key=lambda task: (task.created_ms, task.id))

    async def task(self, run: str, task: str) -> TaskRow:
        """:raises NotFound: when there is no such task."""
        row = (await self._store.rows(run, "task", [task])).get(task)
        if row is None:
            raise NotFound("task", task)
        return decode_task(row)

    async def directions(self, run: str) -> Mapping[str, DirectionRow]:
        """All directions by id, in the order in which they were opened."""
        rows = [decode_direction(row) for row in (await self._store.rows(run, "direction")).values()]
        return {row.id: row for row in sorted(rows, key=lambda row: row.opened)}

    async def artifact(self, run: str, artifact: str) -> Artifact:
        """:raises NotFound: when there is no such artifact."""
        data = (await self._store.artifacts(run, [artifact])).get(artifact)
        if data is None:
            raise NotFound("artifact", artifact)
        return decode_artifact(data)

    async def artifacts(self, run: str, query: QueryRequest, *, now_ms: int) -> AsyncGenerator[Artifact]:
        """Every artifact that matches, newest first, whatever the query's own limit."""
        cursor = query.cursor
        while True:
            page = await self._store.query(
                run, query.model_copy(update={"limit": PAGE, "cursor": cursor}), now_ms=now_ms
            )
            for data in page.artifacts:
                yield decode_artifact(data)
            cursor = page.cursor
            if cursor is None:
                return

    async def body(self, run: str, artifact: Artifact) -> bytes:
        """The bytes of a body that is kept by digest."""
        if artifact.body is None:
            return b""
        parts: list[bytes] = []
        offset = 0
        while offset < artifact.body.size_bytes:
            data, _ = await self._store.get(run, artifact.body.digest, offset=offset, limit=4 * 1024 * 1024)
            parts.append(data)
            offset += len(data)
        return b"".join(parts)

    async def follow(self, run: str, *, after: int = 0) -> AsyncGenerator[Logged]:
        """Every event after a position, those to come included, up to the run's end."""
        while True:
            entries = await self._store.log(run, after=after)
            for entry in entries:
                after = entry.position
                yield Logged(entry.position, decode_event(entry.event))
            if not entries:
                if (await self.totals(run)).ended and await self._store.head(run) <= after:
                    return
                await anyio.sleep(POLL_SECONDS)
