"""The one place where anything is decided: `decide(run, command, env)`, pure.

The leader applies the events to its tentative state, appends them, and lets the effects out when the
append is committed. Nothing here knows Redis, NATS, a clock or a source of randomness.
"""

from collections.abc import Callable, Mapping
from typing import Any

from blackboard import events as ev
from coordinator.decision import (
    AnswerInquiry,
    Cancel,
    Claim,
    Command,
    Commit,
    Conclude,
    Condense,
    Decision,
    Env,
    Judge,
    Lead,
    Pause,
    RecordSteps,
    Redispatch,
    Retry,
    Stopped,
    Sweep,
    Visit,
)
from coordinator.decisions.claims import claim, record
from coordinator.decisions.control import pause, retry
from coordinator.decisions.directions import follow_ups, judge
from coordinator.decisions.dispatch import redispatch, visit
from coordinator.decisions.ending import cancel, conclude, stopped, sweep
from coordinator.decisions.results import commit
from coordinator.decisions.waiting import answer
from coordinator.run import Run


def decide(run: Run, command: Command, env: Env) -> Decision:
    """Events and effects of one command. Changes nothing."""
    return _DECIDE[type(command)](run, command, env)


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


def _condense(command: Condense, env: Env) -> Decision:
    """A task that ended well never begins again, so nothing can have changed since it was read."""
    return Decision(events=[ev.JournalsCondensed(at_ms=env.now_ms, journals=tuple(command.journals))])


_DECIDE: Mapping[type[Command], Callable[[Run, Any, Env], Decision]] = {
    Claim: lambda run, command, env: claim(run.state, command, env),
    Commit: commit,
    RecordSteps: lambda run, command, env: record(run.state, command, env),
    Visit: visit,
    Redispatch: lambda run, command, env: redispatch(run.state, command, env),
    Sweep: lambda run, command, env: sweep(run.state, command, env),
    Judge: judge,
    Conclude: lambda run, _, env: conclude(run.state, env),
    Cancel: lambda run, command, env: cancel(run.state, command, env),
    Stopped: lambda run, command, env: stopped(run.state, command, env),
    Retry: lambda run, command, env: retry(run.state, command, env),
    Pause: lambda run, command, env: pause(run.state, command, env),
    AnswerInquiry: lambda run, command, env: answer(run.state, command, env),
    Condense: lambda _, command, env: _condense(command, env),
    Lead: _lead,
}
