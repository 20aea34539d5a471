"""Which part of a run another one shares, told as the events that the other's log begins with. Pure.

What is shared is told in short and in order: each task begins once and ends once. So the log of a fork folds
to its rows like any other, and statistics, totals and indexes follow from what they always follow from.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from blackboard import events as ev
from blackboard.events import Choice, Event
from blackboard.evolve import step_key, usage_of
from blackboard.spec import Change, RunSpec
from blackboard.state import DirectionRow, InquiryRow, TaskRow
from protocol.artifacts import Artifact
from protocol.errors import InvalidMessage
from protocol.ids import derive, direction_id, finish_topic
from protocol.messages import Step, Usage

STEPS_PER_EVENT = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a run, as they were read: tasks first, so that whatever an ended task brought is there."""

    spec: RunSpec
    head: int
    tasks: Mapping[str, TaskRow]
    directions: Sequence[DirectionRow]
    """In the order in which they were opened."""
    inquiries: Mapping[str, Sequence[InquiryRow]]
    """By the task that asked, oldest first."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where runs part: before a task, at a step of its journal, or, without a task, at the beginning."""

    task: str | None = None
    step: int | None = None


@dataclass(slots=True)
class Part:
    """What of a run came before a point. Tasks that were under way there begin anew."""

    directions: dict[str, DirectionRow] = field(default_factory=dict[str, DirectionRow])
    ended: dict[str, TaskRow] = field(default_factory=dict[str, TaskRow])
    under_way: dict[str, TaskRow] = field(default_factory=dict[str, TaskRow])
    finishing: bool = False
    """The finishing agents have begun."""
    rounds: int = 0
    """How often they had begun before."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What tasks have recorded and posted: by task, and each task's in its order."""

    steps: Mapping[str, Sequence[Step]]
    choices: Mapping[str, Choice]
    artifacts: Mapping[str, Sequence[Artifact]]
    given: Sequence[Artifact] = ()
    """What stands in the place of inputs, and no task has posted."""


def before(source: Source, point: Point) -> Part:
    """The part of a run that came before a point.

    At a step, that is whatever had ended when its task ended: nothing of it can have known the task's result,
    which nobody sees before. Before a task, it is what had ended when the task was dispatched first.

    :raises InvalidMessage: for a task that answers another, which had not ended either, or follows from such.
    """
    part = Part()
    if point.task is None:
        return part
    target = source.tasks[point.task]
    until = target.began if point.step is None else target.ended or source.head + 1
    finishers = {agent.name for agent in source.spec.agents if agent.trigger == "finish"}
    last = next(row for row in source.directions if row.id == target.direction)
    part.finishing = target.agent in finishers and last.inquiry is None
    part.rounds = _round(source.spec, last) if part.finishing else 0
    visits = _visits(source)
    for row in source.directions:
        if row.task is not None and row.task not in part.ended:
            continue
        finishes = row.agent in finishers and row.task is None
        if finishes and not (part.finishing and row.opened <= last.opened):
            continue
        if finishes and _round(source.spec, row) != part.rounds:
            continue
        part.directions[row.id] = row
        for task in visits[row.id]:
            if task is not target and 0 < task.ended < until:
                part.ended[task.id] = task
            elif task is target or task.began < until:
                part.under_way[task.id] = task
    if target.id not in part.under_way:
        asker = _asker(source, part, last)
        problem = f"task {target.id} comes of a question of task {asker}, which had not ended"
        raise InvalidMessage("at", problem, f"part at task {asker}")
    return part


def _asker(source: Source, part: Part, left_out: DirectionRow) -> str:
    """The task whose question opened a direction that is left out, or one that led to it."""
    directions = {row.id: row for row in source.directions}
    row = left_out
    while (
        row.task is not None
        and (above := directions[source.tasks[row.task].direction]).id not in part.directions
    ):
        row = above
    return row.task or ""


def _visits(source: Source) -> Mapping[str, Sequence[TaskRow]]:
    """Tasks by direction, in the order of their visits."""
    visits: dict[str, list[TaskRow]] = defaultdict(list)
    for task in sorted(source.tasks.values(), key=lambda task: task.visit):
        visits[task.direction].append(task)
    return visits


def _round(spec: RunSpec, row: DirectionRow) -> int:
    """In which round of the finishing agents a direction was opened: its id tells, whatever its topic."""
    ids = (direction_id(spec.namespace, row.agent, finish_topic(rounds)) for rounds in count())
    return next(rounds for rounds, identity in enumerate(ids) if identity == row.id)


def whole_prefix(steps: Sequence[Step]) -> int:
    """How many of the first steps hold no intent whose outcome comes later, or never."""
    open_intents: set[tuple[str, int]] = set()
    whole = 0
    for number, step in enumerate(steps, 1):
        if step.kind == "intent":
            open_intents.add((step.path, step.occurrence))
        elif step.kind == "effect":
            open_intents.discard((step.path, step.occurrence))
        if not open_intents:
            whole = number
    return whole


def history(
    source: Source,
    part: Part,
    brought: Brought,
    journals: Mapping[str, Sequence[Step]],
    spec: RunSpec,
    now_ms: int,
) -> list[Event]:
    """The first events of a run that shares a part of another. `journals` are those of `spec.origin`."""
    teller = _Teller(source, part, brought, spec, now_ms)
    events: list[Event] = [ev.RunCreated(at_ms=now_ms, spec=spec)]
    for task, steps in journals.items():
        events.append(ev.JournalShared(at_ms=now_ms, task=task, steps=tuple(steps)))
    events += teller.events()
    events.append(ev.HistoryShared(at_ms=now_ms, tasks=len(part.ended)))
    return events


class _Teller:
    """Tells a part of a run in the order in which it happened."""

    def __init__(self, source: Source, part: Part, brought: Brought, spec: RunSpec, now_ms: int) -> None:
        self._source = source
        self._part = part
        self._brought = brought
        self._spec = spec
        self._now_ms = now_ms
        self._topics = _changed_topics(part, spec)
        self._inputs = _changed_inputs(part, spec)
        self._opened_by: dict[str | None, list[DirectionRow]] = defaultdict(list)
        self._finishing: dict[str, DirectionRow] = {}
        self._posted = 0
        finishers = {agent.name for agent in spec.agents if agent.trigger == "finish"}
        for row in part.directions.values():
            if row.task is None and row.agent in finishers:
                self._finishing[row.id] = row
            else:
                self._opened_by[row.task].append(row)
        self._last: dict[str, str] = {}
        for task in sorted(part.ended.values(), key=lambda task: task.ended):
            self._last[task.direction] = task.id

    def events(self) -> Iterator[Event]:
        for row in self._opened_by[None]:
            yield self._opened(row)
        ended = [(task.ended, True, task) for task in self._part.ended.values()]
        begun = [
            (task.began, False, task) for task in (*self._part.ended.values(), *self._part.under_way.values())
        ]
        finishing = False
        for _, ends, task in sorted(ended + begun, key=lambda one: one[0]):
            if ends:
                yield from self._ends(task)
                continue
            if task.direction in self._finishing:
                if not finishing:
                    yield from self._finishes()
                finishing = True
                yield self._opened(self._finishing[task.direction])
            yield from self._begins(task)
        yield from map(self._artifact, self._brought.given)

    def _finishes(self) -> Iterator[Event]:
        for _ in range(self._part.rounds):
            yield ev.RunReopened(at_ms=self._now_ms, again=True)
        yield ev.RunFinishing(at_ms=self._now_ms)

    def _opened(self, row: DirectionRow) -> ev.DirectionOpened:
        return ev.DirectionOpened(
            at_ms=row.opened_ms,
            direction=row.id,
            agent=row.agent,
            topic=self._topics.get(row.id, row.topic),
            inputs=tuple(self._inputs.get((row.id, one), one) for one in row.inputs),
            parent=row.parent,
            task=row.task,
            prior_micro=row.prior_micro,
            max_visits=row.max_visits,
            inquiry=row.inquiry,
        )

    def _token(self, task: TaskRow) -> str:
        """Nobody ever held it."""
        return derive("shared", self._spec.run, task.id)

    def _begins(self, task: TaskRow) -> Iterator[Event]:
        """A task that had ended is told with one attempt; one that was under way with none, and waits."""
        over = task.id in self._part.ended
        yield ev.TaskDispatched(
            at_ms=task.created_ms,
            task=task.id,
            direction=task.direction,
            agent=task.agent,
            visit=task.visit,
            attempt=1 if over else 0,
            token=self._token(task),
            choice=self._brought.choices.get(task.id),
        )
        if not over:
            yield ev.TaskRequeued(
                at_ms=self._now_ms,
                task=task.id,
                token=self._token(task),
                cause="forked",
                reason=f"it was under way where this run parts from {self._source.spec.run}",
                uses_attempt=False,
            )
            return
        for row in self._source.inquiries.get(task.id, ()):
            yield ev.InquiryAsked(
                at_ms=row.asked_ms,
                inquiry=row.id,
                task=row.task,
                asker=row.asker,
                wait=row.wait,
                until_ms=row.until_ms,
            )
        for row in self._opened_by[task.id]:
            if row.inquiry is not None:
                yield self._opened(row)

    def _ends(self, task: TaskRow) -> Iterator[Event]:
        steps = self._brought.steps.get(task.id, ())
        yield from self._recorded(task, steps)
        yield from map(self._artifact, self._brought.artifacts.get(task.id, ()))
        yield ev.TaskSettled(
            at_ms=task.settled_ms,
            task=task.id,
            token=self._token(task),
            status=_end(task),
            reason=task.reason,
            worker=None if task.status == "cancelled" else task.worker,
            reward_micro=task.reward_micro,
            usage=_less(task.usage, usage_of(steps)),
            failure=task.failure,
            artifacts=task.artifacts,
        )
        for row in self._opened_by[task.id]:
            if row.inquiry is None:
                yield self._opened(row)
        row = self._part.directions[task.direction]
        if row.retired is not None and self._last[row.id] == task.id and self._retired_by_then(row):
            yield ev.DirectionRetired(
                at_ms=task.settled_ms, direction=row.id, reason=row.retired, task=row.retired_by
            )

    def _artifact(self, artifact: Artifact) -> ev.ArtifactPosted:
        self._posted += 1
        moved = artifact.model_copy(update={"run": self._spec.run, "number": self._posted})
        return ev.ArtifactPosted(at_ms=artifact.created_ms, artifact=moved)

    def _recorded(self, task: TaskRow, steps: Sequence[Step]) -> Iterator[Event]:
        """The journal; an answer in it is recorded by its inquiry, as the leader did."""
        answers = {
            ("answer", row.wait.path, row.wait.request, row.wait.occurrence): row
            for row in self._source.inquiries.get(task.id, ())
            if row.answer is not None
        }
        first, pending = 0, list[Step]()
        for number, step in enumerate(steps):
            row = answers.pop(step_key(step), None) if step.kind == "answer" else None
            if row is None:
                pending.append(step)
            if pending and (row is not None or len(pending) == STEPS_PER_EVENT or number + 1 == len(steps)):
                yield self._steps(task, first, pending)
                pending = []
            if row is not None and row.answer is not None:
                yield ev.InquiryAnswered(
                    at_ms=row.answered_ms or task.settled_ms,
                    inquiry=row.id,
                    answerer=row.answerer or "",
                    answer=row.answer,
                )
            if not pending:
                first = number + 1
        for row in self._source.inquiries.get(task.id, ()):
            if row.withdrawn is not None:
                yield ev.InquiryWithdrawn(at_ms=task.settled_ms, inquiry=row.id, reason=row.withdrawn)

    def _steps(self, task: TaskRow, first: int, steps: Sequence[Step]) -> ev.StepsRecorded:
        return ev.StepsRecorded(
            at_ms=task.settled_ms, task=task.id, token=self._token(task), first=first, steps=tuple(steps)
        )

    def _retired_by_then(self, row: DirectionRow) -> bool:
        """Whether what retired a direction had happened: the end of a task, or what its visits had told."""
        if row.retired_by is not None:
            return row.retired_by in self._part.ended
        told = sum(task.direction == row.id for task in self._part.ended.values())
        return told == row.visits + row.expired


def _changed_topics(part: Part, spec: RunSpec) -> Mapping[str, str]:
    """By direction, where the task at which the runs part is to begin with another topic."""
    return {part.under_way[one.of].direction: str(one.now) for one in _changes(spec, "topic")}


def _changed_inputs(part: Part, spec: RunSpec) -> Mapping[tuple[str, str], str]:
    """By direction and input, what stands in its place."""
    return {(part.under_way[one.of].direction, str(one.was)): str(one.now) for one in _changes(spec, "input")}


def _changes(spec: RunSpec, what: Literal["topic", "input"]) -> Iterable[Change]:
    return () if spec.origin is None else (one for one in spec.origin.changes if one.what == what)


def _end(task: TaskRow) -> ev.Ending:
    if task.status not in {"done", "failed", "cancelled", "dead"}:
        raise ValueError(f"task {task.id} is {task.status}")
    return task.status  # pyright: ignore[reportReturnType]  # just checked


def _less(whole: Usage, part: Usage) -> Usage:
    """What is left of a usage without a part of it."""
    costs = whole.cost_microdollars, part.cost_microdollars
    return Usage(
        model_calls=max(0, whole.model_calls - part.model_calls),
        tool_calls=max(0, whole.tool_calls - part.tool_calls),
        tokens_in=max(0, whole.tokens_in - part.tokens_in),
        tokens_out=max(0, whole.tokens_out - part.tokens_out),
        tokens_cached=max(0, whole.tokens_cached - part.tokens_cached),
        cost_microdollars=None if None in costs else max(0, (costs[0] or 0) - (costs[1] or 0)),
        busy_ms=max(0, whole.busy_ms - part.busy_ms),
    )
