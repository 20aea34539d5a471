"""Two runs side by side: what became of them, of each task, and of what they found. Pure.

Runs of one line have the same ids for the same things. Others are compared by what tasks were about and by
what artifacts say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from blackboard.events import MICRO
from blackboard.spec import Change, RunSpec
from blackboard.state import DirectionRow, TaskRow, Totals
from protocol.artifacts import Artifact
from protocol.ids import normalise_topic
from protocol.messages import Divergence, Usage

Verdict = Literal["same", "changed", "lost", "gained"]
"""Of the second run against the first."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is read of a run to compare it."""

    spec: RunSpec
    totals: Totals
    tasks: Mapping[str, TaskRow]
    directions: Mapping[str, DirectionRow]
    artifacts: Sequence[Artifact]
    divergences: Mapping[str, Sequence[Divergence]]
    """By task."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run. `usage` is what it has made itself, `shared` what it was given."""

    run: str
    goal: str
    status: str
    reason: str
    tasks: Mapping[str, int]
    """By end state."""
    reward: float
    """Of all tasks together."""
    artifacts: int
    usage: Usage
    shared: Usage
    steps_shared: int
    steps_anew: int
    steps_set_aside: int
    divergences: int


@dataclass(frozen=True, slots=True)
class End:
    """How a task ended in one of the runs, and what it took."""

    status: str
    reason: str
    reward: float
    usage: Usage
    steps_shared: int
    steps_anew: int
    steps_set_aside: int


@dataclass(frozen=True, slots=True)
class ComparedTask:
    task: str
    agent: str
    topic: str
    verdict: Verdict
    first: End | None
    second: End | None


@dataclass(frozen=True, slots=True)
class ComparedArtifact:
    artifact: str
    type: str
    agent: str
    verdict: Verdict
    first: str | None
    """Its digest in the first run."""
    second: str | None


@dataclass(frozen=True, slots=True)
class Diverged:
    """A place where a run asked something else than its journal had."""

    run: str
    task: str
    step: int
    verdict: str
    recorded: str
    asked: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`same`: the runs ended alike, task by task, and found the same. Tasks and artifacts are all listed."""

    same: bool
    first: Outcome
    second: Outcome
    changes: Sequence[Change]
    """Where one comes from the other: what was changed."""
    tasks: Sequence[ComparedTask]
    artifacts: Sequence[ComparedArtifact]
    diverged: Sequence[Diverged]


def compare(first: Side, second: Side) -> Comparison:
    """Sets two runs side by side."""
    by_id = first.spec.namespace == second.spec.namespace
    tasks = list(_tasks(first, second, by_id=by_id))
    artifacts = list(_artifacts(first, second, by_id=by_id))
    outcomes = _outcome(first), _outcome(second)
    verdicts = Counter(one.verdict for one in (*tasks, *artifacts))
    return Comparison(
        same=outcomes[0].status == outcomes[1].status and verdicts.keys() <= {"same"},
        first=outcomes[0],
        second=outcomes[1],
        changes=_changes(first.spec, second.spec),
        tasks=tasks,
        artifacts=artifacts,
        diverged=[*_diverged(first), *_diverged(second)],
    )


def _outcome(side: Side) -> Outcome:
    totals, ends = side.totals, [_end(side, task) for task in side.tasks.values()]
    return Outcome(
        run=totals.run,
        goal=side.spec.goal,
        status=totals.status,
        reason=totals.reason,
        tasks=dict(sorted(Counter(task.status for task in side.tasks.values()).items())),
        reward=sum(task.reward_micro for task in side.tasks.values()) / MICRO,
        artifacts=totals.artifacts,
        usage=totals.usage,
        shared=totals.shared,
        steps_shared=sum(end.steps_shared for end in ends),
        steps_anew=sum(end.steps_anew for end in ends),
        steps_set_aside=sum(end.steps_set_aside for end in ends),
        divergences=sum(task.divergences for task in side.tasks.values()),
    )


def _end(side: Side, task: TaskRow) -> End:
    """Steps that were shared and then set aside count as that alone; divergences are no steps of an agent."""
    told = side.divergences.get(task.id, ())
    aside = {number for one in told for number in one.set_aside}
    shared_aside = sum(number < task.shared_steps for number in aside)
    return End(
        status=task.status,
        reason=task.reason,
        reward=task.reward_micro / MICRO,
        usage=task.usage,
        steps_shared=task.shared_steps - shared_aside,
        steps_anew=task.steps - task.shared_steps - task.divergences,
        steps_set_aside=len(aside),
    )


def _tasks(first: Side, second: Side, *, by_id: bool) -> Iterator[ComparedTask]:
    ours, theirs = (
        {_task_key(side, task, by_id=by_id): task for task in side.tasks.values()} for side in (first, second)
    )
    for key in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(key), theirs.get(key)
        side, task = (first, one) if one is not None else (second, other)
        if task is None:
            continue
        yield ComparedTask(
            task=task.id,
            agent=task.agent,
            topic=_topic(side, task),
            verdict=_verdict(_told(first, one, by_id=by_id), _told(second, other, by_id=by_id)),
            first=None if one is None else _end(first, one),
            second=None if other is None else _end(second, other),
        )


def _task_key(side: Side, task: TaskRow, *, by_id: bool) -> tuple[str, ...]:
    if by_id:
        return (task.id,)
    return task.agent, normalise_topic(_topic(side, task)), str(task.visit)


def _topic(side: Side, task: TaskRow) -> str:
    row = side.directions.get(task.direction)
    return row.topic if row else ""


def _told(side: Side, task: TaskRow | None, *, by_id: bool) -> object:
    """What makes a task the same: what it was about, and how it ended."""
    if task is None:
        return None
    row = side.directions.get(task.direction)
    inputs = row.inputs if row and by_id else ()
    return task.status, task.reward_micro, task.artifacts, _topic(side, task), inputs


def _artifacts(first: Side, second: Side, *, by_id: bool) -> Iterator[ComparedArtifact]:
    ours, theirs = (
        {one.id if by_id else one.digest: one for one in side.artifacts} for side in (first, second)
    )
    for key in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(key), theirs.get(key)
        artifact = one or other
        if artifact is None:
            continue
        digests = one and one.digest, other and other.digest
        yield ComparedArtifact(
            artifact=artifact.id,
            type=artifact.type,
            agent=artifact.producer.agent,
            verdict=_verdict(*digests),
            first=digests[0],
            second=digests[1],
        )


def _verdict(one: object, other: object) -> Verdict:
    if one is None or other is None:
        return "gained" if one is None else "lost"
    return "same" if one == other else "changed"


def _changes(first: RunSpec, second: RunSpec) -> Sequence[Change]:
    if second.origin is not None and second.origin.run == first.run:
        return second.origin.changes
    return first.origin.changes if first.origin is not None and first.origin.run == second.run else ()


def _diverged(side: Side) -> Iterator[Diverged]:
    for task, divergences in side.divergences.items():
        for one in divergences:
            yield Diverged(side.spec.run, task, one.number, one.verdict, one.recorded, one.asked)
