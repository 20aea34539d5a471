"""From committed events to observations."""

from collections import Counter
from collections.abc import Iterable

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


def observe(events: Iterable[Event], state: RunState, observers: Observers) -> None:
    """Notifies of what the events of a group mean to an operator; most mean nothing."""
    dispatched = Counter[tuple[str, bool]]()
    for event in events:
        if isinstance(event, ev.TaskDispatched):
            dispatched[event.agent, event.attempt > 1] += 1
        else:
            _observe(event, state, observers)
    for (agent, again), tasks in dispatched.items():
        observers.notify(Dispatched(agent, again, tasks))


def _observe(event: Event, state: RunState, observers: Observers) -> None:
    run = state.spec.run
    match event:
        case ev.TasksClaimed():
            waits: dict[str, list[float]] = {}
            for identity in event.tasks:
                task = state.tasks[identity]
                waits.setdefault(task.agent, []).append((event.at_ms - task.dispatched_ms) / 1000)
            for agent, seconds in waits.items():
                observers.notify(Claimed(run, agent, seconds))
        case ev.TaskSettled():
            task = state.tasks[event.task]
            took = (event.at_ms - (task.claimed_ms or task.dispatched_ms or event.at_ms)) / 1000
            reward, priced = event.reward_micro / MICRO, task.usage.cost_microdollars is not None
            observers.notify(Settled(run, task.agent, event.status, took, reward, event.usage, priced=priced))
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
