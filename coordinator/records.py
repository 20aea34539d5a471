"""Reads what the store holds of runs, typed: for the commands. Nothing is changed here."""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from pydantic import JsonValue

from blackboard.encoding import (
    decode_artifact,
    decode_choice,
    decode_direction,
    decode_event,
    decode_inquiry,
    decode_spec,
    decode_steps,
    decode_task,
    decode_totals,
)
from blackboard.events import Choice, Event
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow, InquiryRow, TaskRow, Totals
from blackboard.store import BlackboardStore
from coordinator.archive import Archive
from coordinator.breakers import BreakerRecord
from coordinator.reading import step_row_keys
from protocol.artifacts import Artifact, canonical_json
from protocol.deltas import whole
from protocol.errors import InvalidSettings, NotFound, StoreUnavailable
from protocol.messages import BodyRef, QueryRequest, Step
from protocol.providers import Breaker

PAGE = 200
POLL_SECONDS = 0.25
OUTAGE_SECONDS = 60.0
"""How long a store that answered before may be away: longer than any restart of it."""
LATEST = "latest"
OPERATOR = "*"
"""Sees every artifact that has not expired."""


class AmbiguousId(InvalidSettings):
    """A prefix that several ids share."""

    def __init__(self, kind: str, prefix: str, matching: Sequence[str]) -> None:
        shown = ", ".join(matching[:3]) + (", …" if len(matching) > 3 else "")
        super().__init__(
            kind, f"{prefix!r} begins {len(matching)} ids ({shown})", "give more of the one that you mean"
        )


class NoRuns(NotFound):
    """The newest run was asked for, and there is none."""

    def __init__(self) -> None:
        super().__init__("run", LATEST)
        self.args = ("there are no runs yet; ask something with: coordinator run QUESTION --corpus PATH",)


def the_one(kind: str, prefix: str, ids: Sequence[str]) -> str:
    """The id that begins so; `latest` is the first, so `ids` are newest first.

    :raises NotFound: when there is none.
    :raises AmbiguousId: when there are several, and none is the prefix itself.
    """
    matching = ids[:1] if prefix == LATEST else [one for one in ids if one.startswith(prefix)]
    if prefix in matching:
        return prefix
    if not prefix or not matching:
        raise NotFound(kind, prefix)
    if len(matching) > 1:
        raise AmbiguousId(kind, prefix, matching)
    return matching[0]


def operator_query(
    *,
    type: str | None = None,
    tag: str | None = None,
    producer: str | None = None,
    text: str | None = None,
) -> QueryRequest:
    """A query that sees everything, as no agent's may.

    :raises ValueError: for a condition that no artifact can meet.
    """
    query = QueryRequest(agent="operator", type=type, tag=tag, producer=producer, text=text)
    return query.model_copy(update={"agent": OPERATOR})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run at a glance."""

    spec: RunSpec
    totals: Totals


@dataclass(frozen=True, slots=True)
class Logged:
    """An event and its position in the run's log, from 1."""

    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Events of a run that were asked for and have left its log, by position."""

    first: int
    last: int

    def __str__(self) -> str:
        return (
            f"events {self.first:,} to {self.last:,} are no longer in the log, which keeps the newest "
            "(retention.log_events), and were not archived (retention.archive); "
            "tasks, directions, artifacts and totals tell what they did"
        )


class Records:
    """Runs as the store has them."""

    def __init__(self, store: BlackboardStore) -> None:
        self._store = store

    async def find(self, prefix: str) -> str:
        """The id of the run that begins so; `latest` is the newest.

        :raises NotFound: when there is none.
        :raises AmbiguousId: when there are several.
        """
        runs = await self._store.runs(active=False)
        if prefix == LATEST and not runs:
            raise NoRuns
        return the_one("run", prefix, runs)

    async def runs(self, *, active: bool = False) -> Sequence[RunRecord]:
        """Newest first."""
        found = [await self._run(run) for run in await self._store.runs(active=active)]
        return [record for record in found if record is not None]

    async def _run(self, run: str) -> RunRecord | None:
        rows = await self._store.rows(run, "run", ["spec", "totals"])
        if len(rows) < 2:
            return None
        return RunRecord(decode_spec(rows["spec"]), decode_totals(rows["totals"]))

    async def run(self, run: str) -> RunRecord:
        """:raises NotFound: when there is no such run."""
        record = await self._run(run)
        if record is None:
            raise NotFound("run", run)
        return record

    async def breakers(self) -> Sequence[Breaker]:
        """The circuit breakers of all providers that are known for failures."""
        return (await BreakerRecord(self._store).read()).breakers

    async def totals(self, run: str) -> Totals:
        """:raises NotFound: when there is no such run."""
        return (await self.run(run)).totals

    async def tasks(self, run: str) -> Sequence[TaskRow]:
        """All tasks, in the order of their creation."""
        rows = await self._store.rows(run, "task")
        return sorted(map(decode_task, rows.values()), key=lambda task: (task.created_ms, task.id))

    async def task(self, run: str, prefix: str) -> TaskRow:
        """The task whose id begins so.

        :raises NotFound: when there is none.
        :raises AmbiguousId: when there are several.
        """
        row = (await self._store.rows(run, "task", [prefix])).get(prefix)
        if row is not None:
            return decode_task(row)
        tasks = {task.id: task for task in reversed(await self.tasks(run))}
        return tasks[the_one("task", prefix, list(tasks))]

    async def steps(self, run: str, task: TaskRow) -> Sequence[Step]:
        """The task's journal."""
        keys = step_row_keys(task.id, 0, task.steps)
        return decode_steps(await self._store.rows(run, "step", keys) if keys else {})

    async def requests(self, run: str, steps: Sequence[Step]) -> Sequence[str]:
        """The requests of a task's steps, as text; empty for steps that tell none. `steps` are all of it."""
        texts: dict[str, str] = {}
        requests: list[str] = []
        for step in steps:
            if step.asked is None:
                requests.append("")
                continue
            body = step.asked.body
            bodies = {} if body is None else {body.digest: (await self._whole(run, body)).decode()}
            texts[step.path] = whole(texts.get(step.path), step.asked, bodies)
            requests.append(texts[step.path])
        return requests

    async def value(self, run: str, step: Step) -> JsonValue:
        """The value of a step, wherever it is kept."""
        return step.value if step.body is None else json.loads(await self._whole(run, step.body))

    async def inquiries(self, run: str) -> Sequence[InquiryRow]:
        """What the run's tasks have asked, oldest first, answered or not."""
        rows = map(decode_inquiry, (await self._store.rows(run, "inquiry")).values())
        return sorted(rows, key=lambda row: (row.asked_ms, row.id))

    async def choice(self, run: str, task: str) -> Choice | None:
        """Why the task's direction was chosen; None where its agent explores nothing."""
        row = (await self._store.rows(run, "choice", [task])).get(task)
        return None if row is None else decode_choice(row)

    async def directions(self, run: str) -> Mapping[str, DirectionRow]:
        """All directions by id, in the order in which they were opened."""
        rows = [decode_direction(row) for row in (await self._store.rows(run, "direction")).values()]
        return {row.id: row for row in sorted(rows, key=lambda row: row.opened)}

    async def artifact(self, run: str, prefix: str, *, now_ms: int) -> Artifact:
        """The artifact whose id begins so.

        :raises NotFound: when there is none.
        :raises AmbiguousId: when there are several.
        """
        data = (await self._store.artifacts(run, [prefix])).get(prefix)
        if data is not None:
            return decode_artifact(data)
        found = {one.id: one async for one in self.artifacts(run, operator_query(), now_ms=now_ms)}
        return found[the_one("artifact", prefix, list(found))]

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

    async def payload(self, run: str, artifact: Artifact) -> JsonValue:
        """The content of an artifact, wherever it is kept."""
        return artifact.payload if artifact.body is None else json.loads(await self.body(run, artifact))

    async def body(self, run: str, artifact: Artifact) -> bytes:
        """The bytes of an artifact's content, of which `digest` is the SHA-256.

        :raises NotFound: when the store has lost a body that it keeps by digest.
        """
        if artifact.body is None:
            return canonical_json(artifact.payload)
        return await self._whole(run, artifact.body)

    async def _whole(self, run: str, body: BodyRef) -> bytes:
        parts: list[bytes] = []
        offset = 0
        while offset < body.size_bytes:
            data, _ = await self._store.get(run, body.digest, offset=offset, limit=4 * 1024 * 1024)
            parts.append(data)
            offset += len(data)
        return b"".join(parts)

    async def follow(
        self, run: str, *, after: int = 0, away: Callable[[StoreUnavailable], None] = lambda _: None
    ) -> AsyncGenerator[Logged | Trimmed]:
        """Every event after a position, those to come included, up to the run's end.

        Where events have left the log and are in no archive, it says which.

        A store that does not answer is asked again, and `away` is told once per outage.

        :raises StoreUnavailable: when it stays away for OUTAGE_SECONDS.
        :raises BrokenArchive: when old events are not as they were put away.
        """
        since: float | None = None
        archive = Archive(self._store, run)
        while True:
            try:
                entries = await self._store.log(run, after=after)
                if entries and entries[0].position > after + 1:
                    entries = await archive.after(after) or entries
                ended = not entries and (await self.totals(run)).ended
                head = await self._store.head(run)
            except StoreUnavailable as error:
                if since is None:
                    since = anyio.current_time()
                    away(error)
                if anyio.current_time() - since > OUTAGE_SECONDS:
                    raise
                await anyio.sleep(POLL_SECONDS)
                continue
            since = None
            if entries and entries[0].position > after + 1:
                yield Trimmed(after + 1, entries[0].position - 1)
            for entry in entries:
                after = entry.position
                yield Logged(entry.position, decode_event(entry.event))
            if entries:
                continue
            if ended and head <= after:
                return
            after = min(after, head)
            await anyio.sleep(POLL_SECONDS)


def states(tasks: Iterable[TaskRow]) -> dict[str, int]:
    """How many tasks are in each state."""
    return dict(Counter(task.status for task in tasks))
