"""What an operator may do to a run besides ending it: hold it, let it go on, begin tasks of it again."""

from collections.abc import Iterable

from blackboard import events as ev
from blackboard.state import OPEN, RunState, TaskRow
from coordinator.decision import Decision, Env, Pause, Reply, Retry
from coordinator.decisions.dispatch import is_late
from protocol.messages import NotRetried, PauseReply, RetryReply

SHOWN_REFUSALS = 100
TASKS_PER_EVENT = 1000


def pause(state: RunState, command: Pause, env: Env) -> Decision:
    """Holds a run, or lets it go on. Dispatches that nobody has claimed are taken back at once.

    So while a run is paused none is under way on the bus, and a claim of one is refused for good.
    """
    totals, request = state.totals, command.request
    if totals.ended or totals.cancelling:
        return Decision(effects=[Reply(command.source, PauseReply(verdict="ended"))])
    if (totals.paused is not None) == request.paused:
        return Decision(effects=[Reply(command.source, PauseReply(verdict="unchanged"))])
    verdict = "paused" if request.paused else "resumed"
    decision = Decision(effects=[Reply(command.source, PauseReply(verdict=verdict))])
    if not request.paused:
        decision.events.append(ev.RunResumed(at_ms=env.now_ms))
        return decision
    decision.events.append(ev.RunPaused(at_ms=env.now_ms, reason=request.reason))
    for identity in state.dispatched:
        decision.events.append(
            ev.TaskRequeued(
                at_ms=env.now_ms,
                task=identity,
                token=state.tasks[identity].token,
                cause="paused",
                reason=f"the run is paused: {request.reason}",
                uses_attempt=False,
            )
        )
    return decision


def retry(state: RunState, command: Retry, env: Env) -> Decision:
    """Begins tasks again that ended without a result: those that are named, or all that are dead.

    An ended run is reopened for it. If anything but a finishing agent is retried there, the finishing
    agents run once more, so that they need no retry of their own.
    """
    request, totals = command.request, state.totals
    wanted = request.tasks or [task.id for task in state.tasks.values() if task.status == "dead"]
    again = totals.ended and any(not _finishes(state, task) for task in wanted if task in state.tasks)
    tasks: list[TaskRow] = []
    refused: list[NotRetried] = []
    for identity in dict.fromkeys(wanted):
        task = state.tasks.get(identity)
        reason = _not_retriable(state, task, again, env)
        if task is None or reason:
            refused.append(NotRetried(task=identity, reason=reason))
        else:
            tasks.append(task)
    reply = RetryReply(retried=len(tasks), refused=tuple(refused[:SHOWN_REFUSALS]))
    decision = Decision(effects=[Reply(command.source, reply)])
    if tasks:
        if totals.ended:
            decision.events.append(ev.RunReopened(at_ms=env.now_ms, again=again))
        decision.events += _begun_again(state, tasks, request.reason, env)
    return decision


def _begun_again(state: RunState, tasks: list[TaskRow], reason: str, env: Env) -> Iterable[ev.Event]:
    for at in range(0, len(tasks), TASKS_PER_EVENT):
        ids = tuple(task.id for task in tasks[at : at + TASKS_PER_EVENT])
        yield ev.TasksRetried(at_ms=env.now_ms, tasks=ids, reason=reason)
    retried = {task.id for task in tasks}
    for direction in dict.fromkeys(task.direction for task in tasks):
        if state.directions[direction].retired_by in retried:
            yield ev.DirectionReopened(at_ms=env.now_ms, direction=direction)


def _finishes(state: RunState, identity: str) -> bool:
    """Whether a task is a finishing agent's own, and answers nobody's question."""
    task = state.tasks[identity]
    spec = state.agents.get(task.agent)
    asked = state.directions[task.direction].inquiry is not None
    return spec is not None and spec.trigger == "finish" and not asked


def _not_retriable(state: RunState, task: TaskRow | None, again: bool, env: Env) -> str:  # noqa: PLR0911 - one per reason
    """Why a task does not begin again; empty when it does."""
    if task is None:
        return "the run has no such task"
    if task.status in OPEN:
        return f"it has not ended: it is {task.status}"
    if task.status == "done":
        return "it ended well"
    if task.stop == "asked":
        return "its worker has not said yet that it has stopped it"
    if state.totals.cancelling and not state.totals.ended:
        return "the run is being cancelled"
    if state.totals.status == "finishing" and not _finishes(state, task.id):
        return "the run is finishing; retry it when the run has ended"
    if is_late(state, task.agent, env.now_ms):
        return "the run's deadline has passed; submit another run"
    if again and _finishes(state, task.id):
        return f"agent {task.agent} runs once more anyway, when the others have ended"
    return ""
