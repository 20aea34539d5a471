"""What each event does to the state. No policy, no clock, no randomness: events carry every choice.

`fold(log) = rows` is the oracle of the tests. The state is changed in place; the leader drops it and
reloads when an append is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

from blackboard import events as ev
from blackboard.budgets import NONE, Account, amounts_of
from blackboard.events import Event
from blackboard.rewards import Told, expire, recount, start, tell
from blackboard.spec import Origin
from blackboard.state import (
    DirectionRow,
    InquiryRow,
    RunState,
    StepKey,
    TaskRow,
    TaskStatus,
    Totals,
    index_direction,
    index_inquiry,
    index_task,
    mark,
    unindex_direction,
    unindex_inquiry,
    unindex_task,
)
from protocol.artifacts import digest_of
from protocol.messages import NO_USAGE, Step, Usage

_UNKNOWN = {"intent": 1, "effect": -1}
"""What a step adds to the effects of which nobody knows whether they happened."""
TOLD = frozenset(("done", "failed", "dead"))
"""States in which a task has told the frontier a reward."""
REPORTED = frozenset(("released", "transient", "capacity", "answered"))
"""Causes that a worker gave itself, with what the dispatch has used."""
FAILURE_CHARACTERS = 500
"""What the totals keep of a failure's reason; the task's row has all of it."""
PARENTS_LIMIT = 100
"""Further parents in a direction's row, which stays small however often it is proposed; the log has all."""


def begin(event: ev.RunCreated) -> RunState:
    """The state after a run's first event."""
    spec = event.spec
    state = RunState(spec=spec, totals=Totals(run=spec.run, created_ms=event.at_ms), head=1)
    state.changes["run", "spec"] = spec
    state.changes["run", "totals"] = state.totals
    return state


def evolve(state: RunState, event: Event) -> RunState:
    """Applies one event, and advances the head by one."""
    _EVOLVE[type(event)](state, event)
    state.head += 1
    return state


def fold(events: Iterable[Event]) -> RunState:
    """The state that a whole log leads to. The first event is `RunCreated`."""
    iterator = iter(events)
    first = next(iterator)
    if not isinstance(first, ev.RunCreated):
        raise TypeError(f"a log begins with run_created, not {first.kind}")
    state = begin(first)
    for event in iterator:
        evolve(state, event)
    return state


def step_key(step: Step) -> StepKey:
    """Intents and effects match by path and ordinal, all else by path, request and occurrence."""
    if step.kind in ("pure", "model"):
        return "value", step.path, step.request, step.occurrence
    if step.kind in ("intent", "effect"):
        return step.kind, step.path, "", step.occurrence
    return step.kind, step.path, step.request, step.occurrence


def step_digest(step: Step) -> str:
    """Two records under one key are the same record if and only if these are equal."""
    if step.condensed:
        return step.condensed
    return step.body.digest if step.body is not None else digest_of(step.value)


def bodies_of(step: Step) -> Sequence[str]:
    """Digests of what a step has put apart."""
    asked = step.asked
    if step.body is None and (asked is None or asked.body is None):
        return ()
    return [body.digest for body in (step.body, asked and asked.body) if body is not None]


def journal_key(task: str, ended: int) -> str:
    """The row that says that the journal of a task which has ended well is whole; they sort by their ends."""
    return f"{ended:012d}:{task}"


def _totals(state: RunState) -> Totals:
    state.changes["run", "totals"] = state.totals
    return state.totals


def _direction(state: RunState, identity: str) -> DirectionRow:
    row = state.directions[identity]
    state.changes["direction", identity] = row
    return row


def _task(state: RunState, identity: str) -> TaskRow:
    row = state.tasks[identity]
    state.changes["task", identity] = row
    return row


def _move(state: RunState, task: TaskRow, status: TaskStatus) -> None:
    unindex_task(state, task)
    task.status = status
    index_task(state, task)


def _explored(state: RunState, agent: str) -> bool:
    spec = state.agents.get(agent)
    return spec is not None and spec.trigger == "explore"


def _leader_changed(state: RunState, event: ev.LeaderChanged) -> None:
    totals = _totals(state)
    totals.leader = event.coordinator
    totals.takeovers += 1
    totals.lost_events += event.lost_events


def _direction_opened(state: RunState, event: ev.DirectionOpened) -> None:
    totals = _totals(state)
    totals.directions += 1
    state.directions[event.direction] = DirectionRow(
        id=event.direction,
        agent=event.agent,
        topic=event.topic,
        opened=totals.directions,
        opened_ms=event.at_ms,
        inputs=event.inputs,
        parent=event.parent,
        task=event.task,
        prior_micro=event.prior_micro,
        max_visits=event.max_visits,
        inquiry=event.inquiry,
    )
    index_direction(state, _direction(state, event.direction))
    if event.inquiry is not None:
        inquiry = state.inquiries[event.inquiry]
        inquiry.direction = event.direction
        state.changes["inquiry", inquiry.id] = inquiry


def _direction_proposed_again(state: RunState, event: ev.DirectionProposedAgain) -> None:
    row = _direction(state, event.direction)
    if len(row.parents) < PARENTS_LIMIT:
        row.parents = (*row.parents, event.parent)


def _direction_retired(state: RunState, event: ev.DirectionRetired) -> None:
    row = _direction(state, event.direction)
    if row.open:
        unindex_direction(state, row)
    row.retired, row.retired_by = event.reason, event.task


def _direction_reopened(state: RunState, event: ev.DirectionReopened) -> None:
    row = _direction(state, event.direction)
    if row.retired is not None:
        row.retired = row.retired_by = None
        index_direction(state, row)


def _task_dispatched(state: RunState, event: ev.TaskDispatched) -> None:
    row = state.tasks.get(event.task)
    if row is None:
        row = state.tasks[event.task] = _visit(state, event)
    task = _task(state, event.task)
    task.attempt = event.attempt
    task.tries += 1
    task.token = event.token
    task.worker = task.incarnation = None
    task.dispatched_ms = event.at_ms
    task.not_before_ms = 0
    task.reason = ""
    if state.limited:
        _pace(state, event)
    if state.metered:
        _reserve(state, task, event)
    _move(state, task, "dispatched")


def _pace(state: RunState, event: ev.TaskDispatched) -> None:
    per_minute = state.agents[event.agent].per_minute
    if per_minute is not None:
        paces = _totals(state).paces
        paces[event.agent] = max(paces.get(event.agent, 0), event.at_ms) + round(60_000 / per_minute)


def _reserve(state: RunState, task: TaskRow, event: ev.TaskDispatched) -> None:
    account = _totals(state).accounts.setdefault(task.agent, Account())
    account.begun += event.attempt == 1
    task.reserved = event.reserved or NONE
    account.reserve(task.reserved)


def _close(state: RunState, task: TaskRow, usage: Usage | None, *, whole: bool = False) -> None:
    """A dispatch ends, and says what it has used, or not: one that fails may have used more than it says."""
    if task.reserved is None:
        return
    account = _totals(state).accounts[task.agent]
    used = NONE if usage is None else amounts_of(usage, unknown_cost=task.reserved[3])
    if whole or (usage is not None and task.status == "waiting") or any(used):
        account.settle(task.reserved, used, whole=whole)
    elif usage is None and task.status == "dispatched":
        account.release(task.reserved)
    else:
        account.keep(task.reserved)
    task.reserved = None


def _visit(state: RunState, event: ev.TaskDispatched) -> TaskRow:
    direction = _direction(state, event.direction)
    was_open = direction.open
    start(direction)
    if was_open and not direction.open:
        unindex_direction(state, direction)
    totals = _totals(state)
    if direction.inquiry is None:
        totals.choices += 1
        totals.explored += _explored(state, event.agent)
    task = TaskRow(
        id=event.task,
        direction=event.direction,
        agent=event.agent,
        visit=event.visit,
        created_ms=event.at_ms,
        began=state.head + 1,
    )
    if state.spec.origin is not None:
        _adopt(totals, task, state.spec.origin)
    if event.choice is not None:
        state.changes["choice", task.id] = event.choice
    index_task(state, task)
    state.marks["live", f"task:{task.id}"] = True
    return task


def _adopt(totals: Totals, task: TaskRow, origin: Origin) -> None:
    """A task begins with what is recorded of it in the run that this one comes from."""
    journal = origin.journals.get(task.id)
    if journal is not None:
        task.steps = task.shared_steps = journal.steps
        task.usage = task.shared = journal.usage
        task.divergences = journal.divergences
        totals.shared = totals.shared.plus(journal.usage)


def _tasks_claimed(state: RunState, event: ev.TasksClaimed) -> None:
    builds = event.builds or {}
    for identity in event.tasks:
        task = _task(state, identity)
        unindex_task(state, task)
        task.status = "running"
        task.worker, task.incarnation, task.grant = event.worker, event.incarnation, event.grant
        task.claimed_ms = event.at_ms
        task.build = builds.get(task.agent, "")
        index_task(state, task)


def _task_requeued(state: RunState, event: ev.TaskRequeued) -> None:
    task = _task(state, event.task)
    if state.metered:
        _close(state, task, event.usage if event.cause in REPORTED else None)
    _move(state, task, "queued")
    task.reason, task.failure = event.reason, event.failure
    task.not_before_ms = event.not_before_ms
    task.usage = task.usage.plus(event.usage)
    task.worker = task.incarnation = None
    task.token = ""
    if not event.uses_attempt:
        task.tries -= 1
    totals = _totals(state)
    totals.usage = totals.usage.plus(event.usage)


def _task_suspended(state: RunState, event: ev.TaskSuspended) -> None:
    task = _task(state, event.task)
    _move(state, task, "waiting")
    if state.metered:
        _close(state, task, event.usage)
    task.reason, task.failure = "", None
    task.usage = task.usage.plus(event.usage)
    task.worker = task.incarnation = None
    task.token = ""
    totals = _totals(state)
    totals.usage = totals.usage.plus(event.usage)


def _task_settled(state: RunState, event: ev.TaskSettled) -> None:
    task = _task(state, event.task)
    if event.status == "cancelled" and task.status == "running" and event.worker is None:
        task.stop = "asked"
        state.stopping[task.id] = None
    if state.metered:
        _close(state, task, None if event.worker is None else event.usage, whole=event.status == "done")
    _move(state, task, event.status)
    if event.worker is None:
        task.token = ""
    else:
        task.worker = event.worker
    task.reason, task.failure = event.reason, event.failure
    task.reward_micro, task.artifacts = event.reward_micro, event.artifacts
    task.usage = task.usage.plus(event.usage)
    task.settled_ms = event.at_ms
    task.ended = state.head + 1
    state.journals.pop(task.id, None)
    mark(state, task)
    if event.status == "dead":
        state.marks["dead", task.id] = True
    if task.steps and event.status == "done":
        state.marks["journal", journal_key(task.id, task.ended)] = True
        state.journaled += 1
    direction = _direction(state, task.direction)
    if event.status == "cancelled":
        expire(direction)
    else:
        tell(direction, task.visit, event.reward_micro, task.usage.cost_microdollars or 0)
    totals = _totals(state)
    totals.tasks[event.status] = totals.tasks.get(event.status, 0) + 1
    totals.usage = totals.usage.plus(event.usage)
    if task.agent in state.finishing:
        totals.finished[event.status] = totals.finished.get(event.status, 0) + 1
    elif event.status in {"failed", "dead"} and not totals.first_failure:
        totals.first_failure = f"{event.status}: {event.reason}"[:FAILURE_CHARACTERS]


def _tasks_retried(state: RunState, event: ev.TasksRetried) -> None:
    totals = _totals(state)
    totals.first_failure = ""
    told: dict[str, list[Told]] = {}
    for identity in event.tasks:
        task = _task(state, identity)
        totals.tasks[task.status] -= 1
        if task.agent in state.finishing:
            totals.finished[task.status] -= 1
        direction = _direction(state, task.direction)
        direction.expired -= task.status == "cancelled"
        if task.status == "dead":
            state.marks["dead", identity] = False
        told[direction.id] = []
        _move(state, task, "queued")
        task.token = task.stop = ""
        task.worker = task.incarnation = None
        task.tries = task.settled_ms = task.ended = task.reward_micro = 0
        task.reason = event.reason
        mark(state, task)
    for task in state.tasks.values():
        if task.direction in told and task.status in TOLD:
            told[task.direction].append((task.visit, task.reward_micro, task.usage.cost_microdollars or 0))
    for identity, rewards in told.items():
        recount(state.directions[identity], rewards)


def _task_stopped(state: RunState, event: ev.TaskStopped) -> None:
    task = _task(state, event.task)
    task.stop = event.verdict
    state.stopping.pop(event.task, None)
    mark(state, task)


def _artifact_posted(state: RunState, event: ev.ArtifactPosted) -> None:
    totals = _totals(state)
    totals.artifacts += 1
    totals.types[event.artifact.type] = totals.types.get(event.artifact.type, 0) + 1
    state.posted.append(event.artifact)


def _result_refused(state: RunState, event: ev.ResultRefused) -> None:
    del event
    _totals(state).refused += 1


def _steps_recorded(state: RunState, event: ev.StepsRecorded) -> None:
    """What a step has cost counts once it is recorded, whatever becomes of its attempt."""
    _add_steps(state, event.task, event.first, event.steps)
    spent = usage_of(event.steps)
    if not spent.is_nothing:
        totals = _totals(state)
        totals.usage = totals.usage.plus(spent)
        task = state.tasks[event.task]
        if task.reserved is not None:
            used = amounts_of(spent, unknown_cost=task.reserved[3])
            task.reserved = totals.accounts[task.agent].draw(task.reserved, used)


def _journal_shared(state: RunState, event: ev.JournalShared) -> None:
    for number, step in enumerate(event.steps):
        state.changes["step", f"{event.task}:{number:06d}"] = step
        state.named += bodies_of(step)


def _journals_condensed(state: RunState, event: ev.JournalsCondensed) -> None:
    for one in event.journals:
        for number, step in zip(one.numbers, one.steps, strict=True):
            state.changes["step", f"{one.task}:{number:06d}"] = step
        state.marks["journal", journal_key(one.task, one.ended)] = False
        state.unnamed += one.bodies


def _history_shared(state: RunState, event: ev.HistoryShared) -> None:
    """What was counted up to now is the source's; budgets of use begin anew."""
    del event
    totals = _totals(state)
    totals.shared, totals.usage = totals.shared.plus(totals.usage), NO_USAGE
    totals.accounts = {agent: Account(begun=one.begun) for agent, one in totals.accounts.items()}
    for identity in state.tasks:
        task = _task(state, identity)
        task.shared, task.shared_steps = task.usage, task.steps


def usage_of(steps: Iterable[Step]) -> Usage:
    """What steps have cost together."""
    return reduce(Usage.plus, (step.usage for step in steps), NO_USAGE)


def _add_steps(state: RunState, identity: str, first: int, steps: Sequence[Step]) -> None:
    task = _task(state, identity)
    known = state.journals.get(task.id)
    if known is None and first == 0:
        known = state.journals[task.id] = {}
    for number, step in enumerate(steps, first):
        state.changes["step", f"{task.id}:{number:06d}"] = step
        if known is not None:
            known[step_key(step)] = step_digest(step)
        state.named += bodies_of(step)
        task.usage = task.usage.plus(step.usage)
        task.unknown += _UNKNOWN.get(step.kind, 0)
        task.divergences += step.kind == "divergence"
    task.steps = first + len(steps)
    task.written_by = task.build


def _inquiry_asked(state: RunState, event: ev.InquiryAsked) -> None:
    row = InquiryRow(
        id=event.inquiry,
        task=event.task,
        asker=event.asker,
        wait=event.wait,
        asked_ms=event.at_ms,
        until_ms=event.until_ms,
    )
    state.inquiries[row.id] = state.changes["inquiry", row.id] = row
    state.questions.setdefault(row.task, {})[row.id] = None
    state.marks["live", f"inquiry:{row.id}"] = True
    index_inquiry(state, row)


def _inquiry_answered(state: RunState, event: ev.InquiryAnswered) -> None:
    row = _ending(state, event.inquiry)
    if row is None:
        return
    row.answered_ms, row.answerer, row.answer = event.at_ms, event.answerer, event.answer
    step = Step(
        kind="answer",
        path=row.wait.path,
        request=row.wait.request,
        occurrence=row.wait.occurrence,
        value=event.answer.model_dump(mode="json", exclude_defaults=True),
    )
    task = _task(state, row.task)
    _add_steps(state, task.id, task.steps, (step,))
    if task.status == "waiting":
        _move(state, task, "queued")
        task.tries -= 1


def _inquiry_withdrawn(state: RunState, event: ev.InquiryWithdrawn) -> None:
    row = _ending(state, event.inquiry)
    if row is not None:
        row.withdrawn = event.reason


def _ending(state: RunState, identity: str) -> InquiryRow | None:
    """An inquiry that is open up to now; None for one that has ended before: its first end counts."""
    row = state.inquiries[identity]
    if not row.open:
        return None
    state.changes["inquiry", identity] = row
    unindex_inquiry(state, row)
    return row


def _exploration_stopped(state: RunState, event: ev.ExplorationStopped) -> None:
    totals = _totals(state)
    totals.exploring = False
    totals.reason = event.reason


def _run_paused(state: RunState, event: ev.RunPaused) -> None:
    _totals(state).paused = event.reason


def _run_resumed(state: RunState, event: ev.RunResumed) -> None:
    del event
    _totals(state).paused = None


def _run_cancelled(state: RunState, event: ev.RunCancelled) -> None:
    totals = _totals(state)
    totals.cancelling = True
    totals.paused = None
    totals.exploring = False
    totals.reason = event.reason


def _run_finishing(state: RunState, event: ev.RunFinishing) -> None:
    del event
    _totals(state).status = "finishing"


def _run_ended(state: RunState, event: ev.RunEnded) -> None:
    totals = _totals(state)
    totals.status, totals.reason, totals.ended_ms = event.status, event.reason, event.at_ms
    totals.exploring = False


def _run_reopened(state: RunState, event: ev.RunReopened) -> None:
    totals = _totals(state)
    totals.status, totals.reason, totals.ended_ms = "running", "", None
    totals.cancelling = False
    totals.rounds += event.again


def _record_only(state: RunState, event: Event) -> None:
    """Kept in the log for people; no decision depends on it."""


_EVOLVE: dict[type[Event], Callable[[RunState, Any], None]] = {
    ev.LeaderChanged: _leader_changed,
    ev.DirectionOpened: _direction_opened,
    ev.DirectionProposedAgain: _direction_proposed_again,
    ev.DirectionRetired: _direction_retired,
    ev.DirectionReopened: _direction_reopened,
    ev.FollowUpRefused: _record_only,
    ev.TaskDispatched: _task_dispatched,
    ev.TasksClaimed: _tasks_claimed,
    ev.TaskRequeued: _task_requeued,
    ev.TaskSuspended: _task_suspended,
    ev.TaskSettled: _task_settled,
    ev.TasksRetried: _tasks_retried,
    ev.TaskStopped: _task_stopped,
    ev.ArtifactPosted: _artifact_posted,
    ev.ResultRefused: _result_refused,
    ev.StepsRecorded: _steps_recorded,
    ev.JournalShared: _journal_shared,
    ev.JournalsCondensed: _journals_condensed,
    ev.HistoryShared: _history_shared,
    ev.WorkerLost: _record_only,
    ev.InquiryAsked: _inquiry_asked,
    ev.InquiryAnswered: _inquiry_answered,
    ev.InquiryWithdrawn: _inquiry_withdrawn,
    ev.ExplorationStopped: _exploration_stopped,
    ev.RunPaused: _run_paused,
    ev.RunResumed: _run_resumed,
    ev.RunCancelled: _run_cancelled,
    ev.RunFinishing: _run_finishing,
    ev.RunReopened: _run_reopened,
    ev.RunEnded: _run_ended,
}
