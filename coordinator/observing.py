"""From committed events to observations."""

from blackboard import events as ev
from blackboard.events import MICRO, Event
from blackboard.evolve import usage_of
from blackboard.state import RunState
from coordinator.observations import (
    Claimed,
    Dispatched,
    Observers,
    Refused,
    Requeued,
    Settled,
    Spent,
    WorkerSilent,
)


def observe(event: Event, state: RunState, observers: Observers) -> None:
    """Notifies of what an event means to an operator; most events mean nothing."""
    run = state.spec.run
    match event:
        case ev.TaskDispatched():
            observers.notify(Dispatched(run, event.agent, event.attempt))
        case ev.TasksClaimed():
            for identity in event.tasks:
                task = state.tasks[identity]
                observers.notify(Claimed(run, task.agent, (event.at_ms - task.dispatched_ms) / 1000))
        case ev.TaskSettled():
            task = state.tasks[event.task]
            seconds = (event.at_ms - (task.claimed_ms or task.dispatched_ms or event.at_ms)) / 1000
            reward, priced = event.reward_micro / MICRO, task.usage.cost_microdollars is not None
            observers.notify(
                Settled(run, task.agent, event.status, seconds, reward, event.usage, priced=priced)
            )
        case ev.StepsRecorded():
            spent = usage_of(event.steps)
            if not spent.is_nothing:
                observers.notify(Spent(run, state.tasks[event.task].agent, spent))
        case ev.TaskRequeued() if event.cause != "forked":
            observers.notify(Requeued(run, state.tasks[event.task].agent, event.cause))
        case ev.ResultRefused():
            observers.notify(Refused("result", "stale"))
        case ev.WorkerLost():
            observers.notify(WorkerSilent(run, event.worker, 0))
        case _:
            pass
