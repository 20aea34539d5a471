"""A run as its leader holds it: the state, and a frontier per agent that follows the events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blackboard import events as ev
from blackboard.events import Event
from blackboard.evolve import evolve
from blackboard.state import DirectionRow, RunState
from coordinator.frontier.contract import Frontier
from coordinator.frontier.duplicates import Duplicates
from coordinator.frontier.policies import frontier


@dataclass(slots=True)
class Run:
    """State and frontiers change together, and only through `apply`.

    Directions of inquiries are in no frontier: they are visited because somebody waits.
    """

    state: RunState
    frontiers: dict[str, Frontier]
    similar: Mapping[str, Duplicates]
    """By agent that wants near-duplicates merged: the topics of its directions."""

    @classmethod
    def of(cls, state: RunState) -> "Run":
        rows: dict[str, list[DirectionRow]] = {agent.name: [] for agent in state.spec.agents}
        for row in state.directions.values():
            if row.inquiry is None:
                rows[row.agent].append(row)
        similar = {
            agent.name: Duplicates(agent.similarity)
            for agent in state.spec.agents
            if agent.similarity is not None
        }
        for name, duplicates in similar.items():
            for row in rows[name]:
                duplicates.add(row.id, row.topic)
        frontiers = {agent.name: frontier(agent.policy, rows[agent.name]) for agent in state.spec.agents}
        return cls(state, frontiers, similar)

    def apply(self, event: Event) -> None:
        """Evolves the state and tells the frontier concerned."""
        evolve(self.state, event)
        if isinstance(event, ev.TaskSettled):
            self._changed(self.state.tasks[event.task].direction)
        elif isinstance(event, (ev.TaskDispatched, ev.DirectionRetired)):  # a union takes four times as long
            self._changed(event.direction)
        elif isinstance(event, ev.DirectionOpened):
            self._opened(event.direction)
        elif isinstance(event, ev.DirectionReopened):
            self._rebuild({event.direction})
        elif isinstance(event, ev.TasksRetried):
            self._rebuild({self.state.tasks[task].direction for task in event.tasks})

    def _opened(self, direction: str) -> None:
        row = self.state.directions[direction]
        if row.inquiry is None:
            self.frontiers[row.agent].opened(row)
            if row.agent in self.similar:
                self.similar[row.agent].add(row.id, row.topic)

    def _rebuild(self, directions: Iterable[str]) -> None:
        """Frontiers only learn; where something is taken back they are made anew, as at a take-over."""
        for name in {self.state.directions[direction].agent for direction in directions}:
            rows = [
                row for row in self.state.directions.values() if row.agent == name and row.inquiry is None
            ]
            self.frontiers[name] = frontier(self.state.agents[name].policy, rows)

    def _changed(self, direction: str) -> None:
        row = self.state.directions[direction]
        if row.inquiry is None:
            self.frontiers[row.agent].changed(row)
