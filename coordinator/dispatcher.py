"""What a leader does of its own accord: dispatches while there is room, and sweeps."""

from collections import Counter
from collections.abc import Iterable, Mapping

import anyio

from blackboard import events as ev
from blackboard.spec import AgentSpec
from blackboard.state import TaskRow
from coordinator.builds import Room, stranded
from coordinator.decision import Conclude, Redispatch, Sweep, Visit
from coordinator.gates import Trials, held_back
from coordinator.group_commit import GroupCommit
from coordinator.observations import Backlog, Directions, Republished
from coordinator.office import Office
from coordinator.outbox import Outbox
from coordinator.pace import Pace

AT_ONCE = 48
"""New visits of an agent in one group: workers begin with these while the next are chosen."""


class Dispatcher:
    """Late binding: a task is chosen only when a slot is free for it, or all but free."""

    def __init__(self, office: Office, group: GroupCommit, outbox: Outbox, pace: Pace, since: float) -> None:
        self._office = office
        self._group = group
        self._outbox = outbox
        self._pace = pace
        self._since = since
        self._trials = Trials()
        self._run = group.run.state.spec.run
        self._allowances = office.allowances.open(group.run.state.spec, office.clock.now_ms())

    def fill(self) -> None:
        """Dispatches what there is room for, and looks whether the run is over."""
        state = self._group.run.state
        if not state.totals.ended and not state.totals.cancelling:
            self._dispatch()
        self._group.do(Conclude())

    def _dispatch(self) -> None:
        """What is due again comes first, then the later agents of the spec."""
        state = self._group.run.state
        shares = self._office.shares
        prefetch = self._pace.prefetch(anyio.current_time())
        room = {
            agent.name: shares.offered.get(agent.name, 0) + prefetch - state.busy[agent.name]
            for agent in state.spec.agents
        }
        limit = self._office.settings.admission.max_queued_tasks - len(state.dispatched)
        total = min(shares.runs.get(self._run, 0) + prefetch - state.busy.total(), limit)
        if self._allowances:
            room |= self._permitted(room, total)
        if (state.queued or state.asked) and total > 0:
            total -= self._redispatch(room, total)
        held = held_back(state, self._office.gates.shut) if self._office.gates.shut else ()
        for agent in reversed(state.spec.agents):
            if agent.name in held:
                continue
            for _ in range(min(self._left(agent, total, prefetch), AT_ONCE)):
                if not self._group.do(Visit(agent.name)).events:
                    break
                total -= 1
        if self._allowances:
            for agent, allowance in self._allowances.items():
                allowance.look(state.busy[agent])
            self._office.allowances.bell.set()

    def _left(self, agent: AgentSpec, total: int, prefetch: int) -> int:
        """How many new visits of an agent may go out now."""
        state, shares = self._group.run.state, self._office.shares
        left = min(total, shares.offered.get(agent.name, 0) + prefetch - state.busy[agent.name])
        if agent.name in self._allowances:
            left = min(left, self._allowances[agent.name].unused(state.busy[agent.name]))
        able = Room(state, shares.offers).left(agent.name, agent.build)
        return left if able is None else min(left, able)

    def _permitted(self, room: Mapping[str, int], total: int) -> Mapping[str, int]:
        """The room of agents that the whole swarm limits; whoever asks for permits notices what there is."""
        busy = self._group.run.state.busy
        return {
            agent: allowance.bound(min(room[agent], total), busy[agent])
            for agent, allowance in self._allowances.items()
        }

    def _redispatch(self, room: Mapping[str, int], total: int) -> int:
        """How many tasks were dispatched. Of those that need a provider which is to be probed, one."""
        gates, offers = self._office.gates, self._office.shares.offers
        if not gates.shut:
            return len(self._group.do(Redispatch(room, total, offers=offers)).events)
        now, tasks = anyio.current_time(), self._group.run.state.tasks
        due = self._trials.allowed(gates.due(self._office.clock.now_ms()), now)
        events = self._group.do(Redispatch(room, total, gates.shut, due, offers)).events
        failures = [tasks[event.task].failure for event in events if isinstance(event, ev.TaskDispatched)]
        self._trials.made({one.provider for one in failures if one is not None and one.provider in due}, now)
        return len(events)

    async def sweep_regularly(self) -> None:
        """Takes back what was lost, publishes again what the bus has lost, and reports."""
        while True:
            await anyio.sleep(self._office.settings.liveness.sweep_seconds)
            now = anyio.current_time()
            state = self._group.run.state
            self._group.do(Sweep(self._office.fleet.lost(state, now, self._since), self._barred(now)))
            await self._republish()
            self._report()
            self._group.wake()

    def _barred(self, now: float) -> list[str]:
        """Dispatched tasks that will only be offered to workers who may not claim them.

        Where nobody offers their agent at all they wait on the bus. A new leader lets workers be heard first.
        """
        if now - self._since < self._office.settings.liveness.grace_seconds:
            return []
        offered = {agent for offer in self._office.shares.offers for agent in offer.agents}
        return [task.id for task in self._stranded(self._group.run.state.dispatched) if task.agent in offered]

    def _stranded(self, tasks: Iterable[str]) -> Iterable[TaskRow]:
        known = self._group.run.state.tasks
        state = self._group.run.state
        return stranded((known[identity] for identity in tasks), self._office.shares.offers, state.builds)

    async def _republish(self) -> None:
        state = self._group.run.state
        empty = await self._outbox.empty_queues(state)
        undecided = {event.token for event in self._group.uncommitted if isinstance(event, ev.TaskDispatched)}
        overdue = [
            dispatch
            for dispatch in self._outbox.overdue(state, empty_queues=empty)
            if dispatch.token not in undecided
        ]
        if overdue:
            self._outbox.publish(state, overdue)
            self._office.observers.notify(Republished(self._run, len(overdue)))

    def _report(self) -> None:
        state, observers = self._group.run.state, self._office.observers
        nobodys = (*state.queued, *state.dispatched, *state.waiting)
        barred = Counter(task.agent for task in self._stranded(nobodys))
        for agent in state.spec.agents:
            queued = sum(state.tasks[task].agent == agent.name for task in state.queued)
            dispatched = sum(state.tasks[task].agent == agent.name for task in state.dispatched)
            running = state.busy[agent.name] - dispatched
            waiting = sum(state.tasks[task].agent == agent.name for task in state.waiting)
            observers.notify(
                Backlog(self._run, agent.name, queued, dispatched, running, waiting, barred[agent.name])
            )
        opened = state.choosable.total()
        observers.notify(Directions(self._run, opened, len(state.directions) - opened))
