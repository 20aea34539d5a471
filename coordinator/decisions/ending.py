"""What time and absence do: lost leases, deadlines, the end of exploration, the end of the run."""

from collections import Counter
from collections.abc import Sequence

from blackboard import events as ev
from blackboard.events import Event
from blackboard.state import OPEN, RunState, TaskRow
from coordinator.builds import needed
from coordinator.decision import Cancel, Decision, Env, Lost, Reply, SendDrop, Stopped, Sweep
from coordinator.decisions.directions import finishers, finishing
from coordinator.decisions.dispatch import exploration_limit, is_late
from coordinator.decisions.purse import Purse
from coordinator.decisions.results import end
from coordinator.decisions.waiting import CLOCK, expire, tell
from protocol.messages import Answer, CancelReply, Failure, Lease

GRACE_AFTER_DEADLINE_MS = 30_000
"""How long tasks that run at the deadline may still bring their result."""
STOP_PATIENCE_MS = 10_000
"""How long a worker may take to say that it has stopped a cancelled task; then nobody knows."""
LATE = "the deadline has passed"
ENDS_OR_REQUEUES = (ev.TaskSettled, ev.TaskRequeued)


def sweep(state: RunState, command: Sweep, env: Env) -> Decision:
    """Ends waits at their time; takes back lost leases; cancels what is late, when it runs after a grace."""
    decision = Decision(events=_give_up_on_stops(state, env))
    expire(state, env, decision)
    for lost in command.lost:
        _take_back(state, lost, env, decision)
    decision.events += _strand(state, command.stranded, env)
    deadline = state.spec.deadline_ms
    if deadline is not None and env.now_ms >= deadline:
        late = [task for task in _open_tasks(state) if is_late(state, task.agent, env.now_ms)]
        if env.now_ms < deadline + GRACE_AFTER_DEADLINE_MS:
            late = [task for task in late if task.status != "running"]
        taken_back = {event.task for event in decision.events if isinstance(event, ENDS_OR_REQUEUES)}
        _cancel(state, [task for task in late if task.id not in taken_back], env, LATE, decision)
    return decision


def _take_back(state: RunState, lost: Lost, env: Env, decision: Decision) -> None:
    tasks = [
        (state.tasks[identity], loss)
        for identity, loss in lost.tasks.items()
        if state.tasks[identity].status == "running"
        and (state.tasks[identity].worker, state.tasks[identity].incarnation)
        == (lost.worker, lost.incarnation)
    ]
    if not tasks:
        return
    decision.events.append(
        ev.WorkerLost(
            at_ms=env.now_ms,
            worker=lost.worker,
            incarnation=lost.incarnation,
            reason="; ".join(sorted({loss.reason for _, loss in tasks})),
        )
    )
    for task, loss in tasks:
        decision.effects.append(SendDrop(lost.worker, Lease(task=task.id, token=task.token)))
        if task.tries >= state.spec.max_attempts:
            why = f"lost {task.tries} times, the last because {loss.reason}"
            decision.events += end(state, task, env, "dead", why, None, decision)
        else:
            decision.events.append(
                ev.TaskRequeued(
                    at_ms=env.now_ms, task=task.id, token=task.token, cause=loss.cause, reason=loss.reason
                )
            )


def _strand(state: RunState, tasks: Sequence[str], env: Env) -> list[Event]:
    """Takes dispatches back that nobody may claim; it is no fault of the tasks, and uses no attempt."""
    dispatched = (state.tasks[identity] for identity in tasks if identity in state.dispatched)
    return [
        ev.TaskRequeued(
            at_ms=env.now_ms,
            task=task.id,
            token=task.token,
            cause="stranded",
            reason=f"no living worker goes on from build {needed(task, state.builds)}",
            uses_attempt=False,
        )
        for task in dispatched
    ]


def _open_tasks(state: RunState) -> list[TaskRow]:
    held = (identity for tasks in state.held.values() for identity in tasks)
    return [state.tasks[identity] for identity in (*state.queued, *state.dispatched, *state.waiting, *held)]


def _cancel(state: RunState, tasks: Sequence[TaskRow], env: Env, reason: str, decision: Decision) -> None:
    for task in tasks:
        decision.events += end(state, task, env, "cancelled", reason, None, decision)
        _drop(task, decision)


def _drop(task: TaskRow, decision: Decision) -> None:
    if task.status == "running" and task.worker is not None:
        decision.effects.append(SendDrop(task.worker, Lease(task=task.id, token=task.token)))


def cancel(state: RunState, command: Cancel, env: Env) -> Decision:
    """Cancels the run, or the tasks that are named: they end now, and their late results are refused.

    Repeating it changes nothing.
    """
    request = command.request
    decision = Decision()
    over = state.totals.ended or state.totals.cancelling
    missing = tuple(task for task in request.tasks if task not in state.tasks)
    tasks: list[TaskRow] = []
    if request.tasks:
        known = (state.tasks[task] for task in dict.fromkeys(request.tasks) if task in state.tasks)
        tasks = [task for task in known if task.status in OPEN]
        _cancel(state, tasks, env, f"cancelled: {request.reason}", decision)
    elif not over:
        tasks = _open_tasks(state)
        decision.events.append(ev.RunCancelled(at_ms=env.now_ms, reason=request.reason))
        _cancel(state, tasks, env, f"the run was cancelled: {request.reason}", decision)
    reply = CancelReply(
        already_ended=not tasks if request.tasks else over,
        cancelled=len(tasks),
        stopping=sum(task.status == "running" for task in tasks),
        missing=missing,
    )
    decision.effects.append(Reply(command.source, reply))
    return decision


def stopped(state: RunState, command: Stopped, env: Env) -> Decision:
    """Records that workers have stopped what was cancelled."""
    tasks = (state.tasks[identity] for identity in command.tasks if identity in state.stopping)
    events: list[Event] = [
        ev.TaskStopped(at_ms=env.now_ms, task=task.id, worker=task.worker or "", verdict="confirmed")
        for task in tasks
    ]
    return Decision(events=events)


def _give_up_on_stops(state: RunState, env: Env) -> list[Event]:
    """A cancelled task whose worker says nothing for too long may be going on."""
    late = (
        task
        for task in (state.tasks[identity] for identity in state.stopping)
        if env.now_ms - task.settled_ms >= STOP_PATIENCE_MS
    )
    return [
        ev.TaskStopped(
            at_ms=env.now_ms,
            task=task.id,
            worker=task.worker or "",
            verdict="uncertain",
            reason=f"worker {task.worker} did not say within {STOP_PATIENCE_MS / 1000:g} s that it has ended",
        )
        for task in late
    ]


def conclude(state: RunState, env: Env) -> Decision:
    """Ends exploration at a limit, then lets the finishing agents run one by one, then ends the run.

    A paused run stays as it is, and none ends before it is settled which cancelled tasks have stopped.
    """
    decision = Decision()
    totals = state.totals
    if totals.ended or totals.paused is not None:
        return decision
    limit = ""
    if totals.exploring:
        limit = exploration_limit(state, env.now_ms)
        if limit:
            decision.events.append(ev.ExplorationStopped(at_ms=env.now_ms, reason=limit))
    exploring = totals.exploring and not decision.events
    if not state.busy.total() and (state.queued or state.asked):
        _give_up_what_is_unaffordable(state, env, decision)
    if state.open_tasks == 0 and not _more_to_visit(state, env.now_ms, exploring=exploring):
        decision.events += _next_phase(state, env, limit or totals.reason)
    return decision


def _give_up_what_is_unaffordable(state: RunState, env: Env, decision: Decision) -> None:
    """Nothing is under way that could give anything back: what no budget allows any more ends."""
    purse = Purse(state, env.now_ms)
    for task in [state.tasks[identity] for identity in state.queued]:
        refusal = purse.refusal(task.agent)
        if refusal:
            _cancel(state, [task], env, refusal, decision)
    for identity in state.asked:
        direction = state.directions[identity]
        refusal = purse.refusal(direction.agent)
        if refusal and direction.inquiry is not None:
            answer = Answer(failure=Failure(kind="user", message=refusal))
            tell(state, state.inquiries[direction.inquiry], CLOCK, answer, env, decision)


def _more_to_visit(state: RunState, now_ms: int, *, exploring: bool) -> bool:
    if state.totals.cancelling:
        return False
    purse = Purse(state, now_ms)
    return any(
        state.choosable[agent.name] > 0
        and (exploring or agent.trigger != "explore")
        and not is_late(state, agent.name, now_ms)
        and not purse.refusal(agent.name)
        for agent in state.spec.agents
    )


def _next_phase(state: RunState, env: Env, reason: str) -> list[Event]:
    events: list[Event] = []
    if state.totals.cancelling:
        ended = ev.RunEnded(at_ms=env.now_ms, status="cancelled", reason=state.totals.reason)
        return [] if state.stopping else [ended]
    direction = finishing(state, env)
    if direction is None:
        return [] if state.stopping else [_verdict(state, env, reason)]
    if state.totals.status == "running":
        events.append(ev.RunFinishing(at_ms=env.now_ms))
    events.append(direction)
    return events


def _verdict(state: RunState, env: Env, why: str) -> ev.RunEnded:
    """Failed when a finishing agent, or every task before them, came to nothing; done otherwise."""
    last = finishers(state)
    for task in state.tasks.values():
        if task.direction in last and task.status != "done":
            reason = f"agent {task.agent} ended {task.status}: {task.reason}"
            return ev.RunEnded(at_ms=env.now_ms, status="failed", reason=reason)
    totals = state.totals
    before = Counter(totals.tasks)
    before.subtract(totals.finished)
    if before.total() and before["failed"] + before["dead"] == before.total():
        reason = f"no task ended well; the first ended {totals.first_failure}"
        return ev.RunEnded(at_ms=env.now_ms, status="failed", reason=reason)
    if not totals.tasks.get("done"):
        reason = f"no task ended well; {why}" if why else "no task ended well"
        return ev.RunEnded(at_ms=env.now_ms, status="failed", reason=reason)
    return ev.RunEnded(at_ms=env.now_ms, status="done", reason=why or "nothing left to explore")
