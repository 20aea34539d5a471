"""A run that shares the history of another: read, changed, and created by one append.

The source is only read. What the new run needs of it is copied, bodies first, so that it does not depend on
how long the source is kept. Before the append there is no new run; after it, it is whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from blackboard.condensing import whole_steps
from blackboard.encoding import (
    decode_artifact,
    decode_choice,
    decode_direction,
    decode_inquiry,
    decode_spec,
    decode_steps,
    decode_task,
    decode_totals,
    encode_changes,
    encode_event,
)
from blackboard.events import Event
from blackboard.evolve import fold, usage_of
from blackboard.spec import Origin, RunSpec, SharedJournal
from blackboard.state import InquiryRow, TaskRow
from blackboard.store import Batch, BlackboardStore, put_whole
from coordinator.history import Brought, Part, Point, Source, before, history, whole_prefix
from coordinator.overrides import Overrides, Replacement, changed, changes
from coordinator.reading import step_row_keys
from coordinator.records import Records, operator_query
from coordinator.reopening import append_until_definite
from coordinator.replacing import Given, given, inherited, replaced_in
from coordinator.submit import RETRY_AFTER_SECONDS, check
from protocol import subjects
from protocol.artifacts import Artifact
from protocol.errors import InvalidMessage, NotFound, Overloaded
from protocol.messages import CHUNK_BYTES, Step
from protocol.transport.contract import Transport

BODY_SECONDS = 3_600.0
"""How long a copied body waits for the append that keeps it."""
ROWS_AT_ONCE = 5_000
RETENTION = "retention.journals, retention.journal_seconds"

Verb = Literal["fork", "replay"]


@dataclass(frozen=True, slots=True)
class Parted:
    """A run that was made from another, or was there already; how much of the other it shares."""

    spec: RunSpec
    created: bool
    tasks: int
    """Tasks that had ended where the runs part."""
    steps: int
    """Recorded steps of the tasks that begin anew."""


@dataclass(frozen=True, slots=True)
class Forking:
    """Makes runs from others, in one store."""

    store: BlackboardStore
    transport: Transport
    max_active: int

    async def part(
        self, source: str, verb: Verb, point: Point, overrides: Overrides, run: str, *, now_ms: int
    ) -> Parted:
        """Makes run `run` of what run `source` was at a point. The same again is the same run.

        :raises NotFound: when there is no such run or task.
        :raises InvalidMessage: for a step that is not there or cannot be parted at, for an override that
            nobody would read, and when run `run` exists and comes from elsewhere.
        :raises Overloaded: when `max_active` runs are active.
        :raises StoreUnavailable: when the run may or may not have been created: ask again with the same id.
        """
        read = await self._read(source)
        if point.task is not None and point.task not in read.tasks:
            raise NotFound("task", point.task)
        part = before(read, point)
        new = await self._given(read, part, point, overrides.inputs, now_ms)
        made = (*changes(read, point.task, overrides), *new.changes)
        origin = Origin(
            verb=verb,
            run=source,
            root=read.spec.namespace,
            head=read.head,
            task=point.task,
            step=point.step,
            changes=made,
            inherited=dict(new.inherited),
        )
        known = (await self.store.rows(run, "run", ["spec"])).get("spec")
        if known is not None:
            return _known(decode_spec(known), origin, part)
        if len(await self.store.runs(active=True)) >= self.max_active:
            raise Overloaded("active runs", self.max_active, RETRY_AFTER_SECONDS)
        journals = await self._journals(read, part, point, verb)
        told = _told(journals)
        spec = changed(read.spec, made).model_copy(
            update={
                "run": run,
                "deadline_ms": await self._deadline(read.spec, now_ms),
                "origin": origin.model_copy(update={"journals": told}),
            }
        )
        check(spec)
        brought = await self._brought(source, part, new)
        events = history(read, part, brought, journals, spec, now_ms)
        await self._create(source, run, events, new.bodies)
        self.transport.emit(subjects.RUNS, b"")
        shared = sum(journal.steps for journal in told.values())
        return Parted(spec, created=True, tasks=len(part.ended), steps=shared)

    async def _read(self, run: str) -> Source:
        """The rows of a run. Tasks come first: what an ended task has brought was written with its end."""
        rows = await self.store.rows(run, "run", ["spec"])
        if "spec" not in rows:
            raise NotFound("run", run)
        head = await self.store.head(run)
        tasks = {key: decode_task(row) for key, row in (await self.store.rows(run, "task")).items()}
        directions = map(decode_direction, (await self.store.rows(run, "direction")).values())
        asked: dict[str, list[InquiryRow]] = defaultdict(list)
        inquiries = map(decode_inquiry, (await self.store.rows(run, "inquiry")).values())
        for row in sorted(inquiries, key=lambda row: (row.asked_ms, row.id)):
            asked[row.task].append(row)
        opened = sorted(directions, key=lambda row: row.opened)
        return Source(decode_spec(rows["spec"]), head, tasks, opened, asked)

    async def _given(
        self, read: Source, part: Part, point: Point, inputs: Mapping[str, Replacement], now_ms: int
    ) -> Given:
        others = [by.artifact for by in inputs.values() if by.artifact is not None]
        earlier = replaced_in(read.spec)
        named = await self.store.artifacts(read.spec.run, [*inputs, *others, *earlier])
        known = {identity: decode_artifact(data) for identity, data in named.items()}
        own = given(read, part, point.task, inputs, known, now_ms)
        return inherited(read, part, own, known, now_ms)

    async def _deadline(self, spec: RunSpec, now_ms: int) -> int | None:
        """As much time as the source had from its creation."""
        if spec.deadline_ms is None:
            return None
        totals = (await self.store.rows(spec.run, "run", ["totals"]))["totals"]
        return now_ms + spec.deadline_ms - decode_totals(totals).created_ms

    async def _journals(
        self, source: Source, part: Part, point: Point, verb: Verb
    ) -> Mapping[str, Sequence[Step]]:
        """Recorded steps of tasks that had not ended: of all to replay, of one up to a step to fork."""
        run = source.spec.run
        if verb == "fork":
            if point.task is None or not point.step:
                return {}
            task = source.tasks[point.task]
            steps = (await self._steps(run, [task], up_to=point.step))[task.id]
            _check_step(task, point.step, steps)
            return {task.id: steps}
        recorded = [task for task in source.tasks.values() if task.steps and task.id not in part.ended]
        read = await self._steps(run, recorded)
        _check_whole(source, read)
        whole = {task: steps[: whole_prefix(steps)] for task, steps in read.items()}
        return {task: steps for task, steps in whole.items() if steps}

    async def _steps(
        self, run: str, tasks: Iterable[TaskRow], *, up_to: int | None = None
    ) -> dict[str, Sequence[Step]]:
        """Journals by task, each as far as the store has it without a gap."""
        found: dict[str, Sequence[Step]] = {}
        for task in tasks:
            keys = step_row_keys(task.id, 0, task.steps if up_to is None else min(up_to, task.steps))
            rows: dict[str, bytes] = {}
            for at in range(0, len(keys), ROWS_AT_ONCE):
                rows.update(await self.store.rows(run, "step", keys[at : at + ROWS_AT_ONCE]))
            there = next((number for number, key in enumerate(keys) if key not in rows), len(keys))
            found[task.id] = decode_steps({key: rows[key] for key in keys[:there]})
        return found

    async def _brought(self, run: str, part: Part, new: Given) -> Brought:
        """What was given to the source stays where a direction begins with it, now or when it is opened."""
        recorded = [task for task in part.ended.values() if task.steps]
        chosen = [*part.ended, *part.under_way]
        choices = await self.store.rows(run, "choice", chosen)
        artifacts: dict[str, list[Artifact]] = defaultdict(list)
        begun = (*part.directions.values(), *new.inherited.values())
        inputs = {one for row in begun for one in row.inputs}
        stay: list[Artifact] = []
        posted = [one async for one in Records(self.store).artifacts(run, operator_query(), now_ms=0)]
        for artifact in reversed(posted):
            if artifact.given and artifact.id in inputs:
                stay.append(artifact)
            elif not artifact.given and artifact.producer.task in part.ended:
                artifacts[artifact.producer.task].append(artifact)
        there = {artifact.id for artifact in stay}
        return Brought(
            await self._steps(run, recorded),
            {key: decode_choice(row) for key, row in choices.items()},
            artifacts,
            [*stay, *(artifact for artifact in new.artifacts if artifact.id not in there)],
        )

    async def _create(self, source: str, run: str, events: Sequence[Event], new: Mapping[str, bytes]) -> None:
        state = fold(events)
        written = encode_changes(state)
        posted = (artifact.body for artifact in written.artifacts if artifact.body is not None)
        for digest in dict.fromkeys((*written.bodies, *posted)):
            if digest in new:
                await put_whole(self.store, run, digest, new[digest], ttl_seconds=BODY_SECONDS)
            else:
                await self._copy(source, run, digest)
        batch = Batch(
            run,
            "",
            0,
            [encode_event(event) for event in events],
            written.rows,
            written.artifacts,
            bodies=written.bodies,
        )
        await append_until_definite(self.store, batch)

    async def _copy(self, source: str, run: str, digest: str) -> None:
        offset, size = 0, 1
        while offset < size:
            chunk, size = await self.store.get(source, digest, offset=offset, limit=CHUNK_BYTES)
            put = await self.store.put(
                run, digest, size_bytes=size, offset=offset, chunk=chunk, ttl_seconds=BODY_SECONDS
            )
            if put.complete:
                return
            offset += len(chunk)


def _told(journals: Mapping[str, Sequence[Step]]) -> dict[str, SharedJournal]:
    return {
        task: SharedJournal(
            steps=len(steps),
            usage=usage_of(steps),
            divergences=sum(step.kind == "divergence" for step in steps),
        )
        for task, steps in journals.items()
    }


def _known(spec: RunSpec, origin: Origin, part: Part) -> Parted:
    if spec.origin is None or not spec.origin.is_like(origin):
        raise InvalidMessage("id", f"run {spec.run} exists and comes from elsewhere", "choose another id")
    steps = sum(journal.steps for journal in spec.origin.journals.values())
    return Parted(spec, created=False, tasks=len(part.ended), steps=steps)


def _check_whole(source: Source, journals: Mapping[str, Sequence[Step]]) -> None:
    """:raises InvalidMessage: when a task that is to be replayed could not be answered from its journal."""
    short = [task for task, steps in journals.items() if whole_steps(steps) < source.tasks[task].steps]
    if short:
        latest = max(short, key=lambda task: source.tasks[task].ended)
        raise InvalidMessage(
            "replay",
            f"the journals of {len(short):,} tasks that would run again are condensed ({RETENTION}), "
            f"the latest is that of task {latest}",
            "begin at a task that was dispatched after that one had ended, or fork before a task",
        )


def _check_step(task: TaskRow, step: int, steps: Sequence[Step]) -> None:
    """:raises InvalidMessage: when a run cannot part from another before this step."""
    if step > task.steps:
        raise InvalidMessage(
            "step", f"task {task.id} has recorded {task.steps} steps", "name one of them, from 0"
        )
    kept = whole_steps(steps)
    if kept < step:
        problem = f"the journal of task {task.id} is condensed from step {kept} on ({RETENTION})"
        raise InvalidMessage("step", problem, f"part at step {kept}, or before the task: leave out the step")
    whole = whole_prefix(steps)
    if whole < step:
        raise InvalidMessage(
            "step",
            f"an effect was begun at step {whole} of task {task.id} whose outcome comes later",
            f"part at step {whole}, or after the outcome",
        )
