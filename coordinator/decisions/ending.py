"""What time and absence do: lost leases, deadlines, the end of exploration, the end of the run."""

from collections.abc import Sequence

from blackboard import events as ev
from blackboard.events import Event
from blackboard.state import RunState, TaskRow
from coordinator.decision import Cancel, Decision, Env, Lost, Reply, SendDrop, Sweep
from coordinator.decisions.directions import finishing
from coordinator.decisions.dispatch import exploration_limit, is_late
from coordinator.decisions.results import end
from coordinator.decisions.waiting import expire
from protocol.messages import CancelReply, Lease

GRACE_AFTER_DEADLINE_MS = 30_000
"""How long tasks that run at the deadline may still bring their result."""
LATE = "the deadline has passed"
ENDS_OR_REQUEUES = (ev.TaskSettled, ev.TaskRequeued)


def sweep(state: RunState, command: Sweep, env: Env) -> Decision:
    """Ends waits at their time; takes back lost leases; cancels what is late, when it runs after a grace."""
    decision = Decision()
    expire(state, env, decision)
    for lost in command.lost:
        _take_back(state, lost, env, decision)
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
    """Cancels the run: open tasks end, their late results are refused. Repeating it changes nothing."""
    over = state.totals.ended or state.totals.cancelling
    decision = Decision(effects=[Reply(command.source, CancelReply(already_ended=over))])
    if not over:
        decision.events.append(ev.RunCancelled(at_ms=env.now_ms, reason=command.reason))
        reason = f"the run was cancelled: {command.reason}"
        _cancel(state, _open_tasks(state), env, reason, decision)
    return decision


def conclude(state: RunState, env: Env) -> Decision:
    """Ends exploration at a limit, then lets the finishing agents run one by one, then ends the run.

    A paused run stays as it is.
    """
    decision = Decision()
    totals = state.totals
    if totals.ended or totals.paused is not None:
        return decision
    if totals.exploring:
        limit = exploration_limit(state, env.now_ms)
        if limit:
            decision.events.append(ev.ExplorationStopped(at_ms=env.now_ms, reason=limit))
    exploring = totals.exploring and not decision.events
    if state.open_tasks == 0 and not _more_to_visit(state, env.now_ms, exploring=exploring):
        decision.events += _next_phase(state, env)
    return decision


def _more_to_visit(state: RunState, now_ms: int, *, exploring: bool) -> bool:
    if state.totals.cancelling:
        return False
    return any(
        state.choosable[agent.name] > 0
        and (exploring or agent.trigger != "explore")
        and not is_late(state, agent.name, now_ms)
        for agent in state.spec.agents
    )


def _next_phase(state: RunState, env: Env) -> list[Event]:
    events: list[Event] = []
    if state.totals.cancelling:
        return [ev.RunEnded(at_ms=env.now_ms, status="cancelled", reason=state.totals.reason)]
    direction = finishing(state, env)
    if direction is None:
        return [_verdict(state, env)]
    if state.totals.status == "running":
        events.append(ev.RunFinishing(at_ms=env.now_ms))
    events.append(direction)
    return events


def _verdict(state: RunState, env: Env) -> ev.RunEnded:
    """Failed when a finishing agent, or every task before them, came to nothing; done otherwise."""
    finishers = {agent.name for agent in state.spec.agents if agent.trigger == "finish"}
    for task in state.tasks.values():
        asked = state.directions[task.direction].inquiry is not None
        if task.agent in finishers and task.status != "done" and not asked:
            reason = f"agent {task.agent} ended {task.status}: {task.reason}"
            return ev.RunEnded(at_ms=env.now_ms, status="failed", reason=reason)
    before = [task for task in state.tasks.values() if task.agent not in finishers]
    if before and all(task.status in {"failed", "dead"} for task in before):
        reason = f"no task ended well; the first ended {before[0].status}: {before[0].reason}"
        return ev.RunEnded(at_ms=env.now_ms, status="failed", reason=reason)
    if not state.totals.tasks.get("done"):
        return ev.RunEnded(at_ms=env.now_ms, status="failed", reason="no task ended well")
    reason = state.totals.reason or "nothing left to explore"
    return ev.RunEnded(at_ms=env.now_ms, status="done", reason=reason)
