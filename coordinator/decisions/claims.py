"""Claims of dispatched tasks, and the journal of claimed ones. Both are fenced by the dispatch's token."""

from blackboard import events as ev
from blackboard.evolve import step_digest, step_key
from blackboard.state import OPEN, RunState, StepKey, TaskRow
from coordinator.builds import goes_on, needed
from coordinator.decision import AnswerClaim, Claim, Decision, Env, RecordSteps, Reply, ReplyOnceOnDisk
from protocol.artifacts import canonical_json
from protocol.messages import REPLY_BYTES, Lease, RecordReply, Refusal, Step

GRANT_BYTES = 600
"""What a grant takes in a reply besides goal, settings, topic and inputs."""
INPUT_BYTES = 70
"""What the id of an input takes."""


def claim(state: RunState, command: Claim, env: Env) -> Decision:
    """Grants each lease that is dispatched and unheld, and again what the same incarnation holds.

    What the reply has no room for stays unanswered: its message comes again. A repeated claim moves the
    lease to its own number, so that beats which were sent before its answer say nothing of the lease.
    """
    request = command.request
    decision = Decision()
    common = len(canonical_json([state.spec.goal, state.spec.settings]))
    room = REPLY_BYTES
    granted: list[Lease] = []
    refused: list[Refusal] = []
    claimed: dict[str, str] = {}
    for lease in request.leases:
        task = state.tasks.get(lease.task)
        reason = _refusal(state, task, command, lease)
        if task is None or reason:
            refused.append(Refusal(task=lease.task, token=lease.token, reason=reason))
            continue
        build = needed(task, state.builds)
        if build and task.status == "dispatched" and not goes_on(request.builds.get(task.agent, ()), build):
            reason = f"it needs build {build}, which this one does not go on from"
            refused.append(Refusal(task=lease.task, token=lease.token, reason=reason, elsewhere=True))
            continue
        room -= common + _own_bytes(state, task)
        if room < 0 and granted:
            break
        granted.append(lease)
        if task.status == "dispatched" or task.grant < request.number:
            claimed[lease.task] = lease.token
    if claimed:
        decision.events.append(
            ev.TasksClaimed(
                at_ms=env.now_ms,
                tasks=claimed,
                worker=request.worker,
                incarnation=request.incarnation,
                grant=request.number,
                builds={agent: told[0] for agent, told in request.builds.items()} or None,
            )
        )
    decision.effects.append(AnswerClaim(command.source, request.number, tuple(granted), tuple(refused)))
    return decision


def _own_bytes(state: RunState, task: TaskRow) -> int:
    direction = state.directions[task.direction]
    return GRANT_BYTES + len(direction.topic.encode()) + INPUT_BYTES * len(direction.inputs)


def _refusal(state: RunState, task: TaskRow | None, command: Claim, lease: Lease) -> str:
    """Why a claim is refused; empty when it is not."""
    if task is None:
        return "no such task is open"
    if state.totals.cancelling or state.totals.ended:
        return "the run is over"
    if task.token != lease.token or task.status == "queued":
        paused = state.totals.paused is not None
        return "the run is paused: the task comes again" if paused else "the task was dispatched again"
    if task.status == "dispatched":
        return ""
    if task.status != "running":
        return f"the task is {task.status}"
    same = task.worker == command.request.worker and task.incarnation == command.request.incarnation
    return "" if same else "another worker holds the task"


def record(state: RunState, command: RecordSteps, env: Env) -> Decision:
    """Adds steps to a journal. One already recorded is skipped; its key with another value is a conflict.

    The task's journal must be in `state.journals` if it has steps.
    """
    request = command.request
    task = state.tasks.get(request.task)
    lost = task is None or task.status not in OPEN or task.token != request.token
    if task is None or lost or task.worker not in (None, request.worker):
        return _answer(command, RecordReply(verdict="stale", reason="the lease on the task moved on"))
    if any(step.kind == "answer" for step in request.steps):
        return _answer(command, RecordReply(verdict="conflict", reason="answers are recorded by the leader"))
    known = state.journals.get(task.id, {})
    fresh: dict[StepKey, Step] = {}
    for step in request.steps:
        key = step_key(step)
        recorded = known.get(key) or (step_digest(fresh[key]) if key in fresh else None)
        if recorded is None:
            fresh[key] = step
        elif recorded != step_digest(step):
            reason = f"step {step.path!r} ({step.occurrence}) is recorded with another value"
            return _answer(command, RecordReply(verdict="conflict", reason=reason))
    recorded = RecordReply(verdict="recorded")
    reply = ReplyOnceOnDisk if command.on_disk else Reply
    decision = Decision(effects=[reply(command.source, recorded)])
    if fresh:
        steps = tuple(fresh.values())
        decision.events.append(
            ev.StepsRecorded(at_ms=env.now_ms, task=task.id, token=task.token, first=task.steps, steps=steps)
        )
    return decision


def _answer(command: RecordSteps, reply: RecordReply) -> Decision:
    return Decision(effects=[Reply(command.source, reply)])
