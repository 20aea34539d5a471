"""The one place where anything is decided: `decide(run, command, env)`, pure.

The leader applies the events to its tentative state, appends them, and lets the effects out when the
append is committed. Nothing here knows Redis, NATS, a clock or a source of randomness.
"""

from blackboard import events as ev
from coordinator.decision import (
    AnswerInquiry,
    Cancel,
    Claim,
    Command,
    Commit,
    Conclude,
    Decision,
    Env,
    Judge,
    Lead,
    RecordSteps,
    Redispatch,
    Sweep,
    Visit,
)
from coordinator.decisions.claims import claim, record
from coordinator.decisions.directions import follow_ups, judge
from coordinator.decisions.dispatch import redispatch, visit
from coordinator.decisions.ending import cancel, conclude, sweep
from coordinator.decisions.results import commit
from coordinator.decisions.waiting import answer
from coordinator.run import Run


def decide(run: Run, command: Command, env: Env) -> Decision:  # noqa: C901, PLR0911 - one per command
    """Events and effects of one command. Changes nothing."""
    state = run.state
    match command:
        case Claim():
            return claim(state, command, env)
        case Commit():
            return commit(run, command, env)
        case RecordSteps():
            return record(state, command, env)
        case Visit():
            return visit(run, command, env)
        case Redispatch():
            return redispatch(state, command, env)
        case Sweep():
            return sweep(state, command, env)
        case Judge():
            return judge(run, command, env)
        case Conclude():
            return conclude(state, env)
        case Cancel():
            return cancel(state, command, env)
        case AnswerInquiry():
            return answer(state, command, env)
        case Lead():
            return _lead(run, command, env)


def _lead(run: Run, command: Lead, env: Env) -> Decision:
    """Records the new leader; the first one opens the root directions."""
    decision = Decision(
        events=[
            ev.LeaderChanged(
                at_ms=env.now_ms, coordinator=command.coordinator, lost_events=command.lost_events
            )
        ]
    )
    if not run.state.directions:
        decision.events += follow_ups(run, None, run.state.spec.roots, env)
    return decision
