"""What an operator may do to a run besides ending it: hold it, and let it go on."""

from blackboard import events as ev
from blackboard.state import RunState
from coordinator.decision import Decision, Env, Pause, Reply
from protocol.messages import PauseReply


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
