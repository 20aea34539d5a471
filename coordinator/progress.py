"""What a run's events mean to somebody who waits: counts that move, and lines worth a line."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from blackboard import events as ev
from blackboard.events import MICRO, Event
from blackboard.evolve import usage_of
from protocol.messages import Usage


@dataclass(slots=True)
class Progress:
    """Follows a run event by event."""

    budget_tasks: int | None = None
    agents: dict[str, str] = field(default_factory=dict[str, str])
    """Agent by task under way."""
    topics: dict[str, str] = field(default_factory=dict[str, str])
    settled: Counter[str] = field(default_factory=Counter[str])
    """Settled tasks by agent."""
    artifacts: Counter[str] = field(default_factory=Counter[str])
    explored: int = 0
    lost: int = 0
    cost_microdollars: int | None = 0
    phase: str = "starting"
    _visited: dict[str, str] = field(default_factory=dict[str, str])

    def follow(self, event: Event) -> Iterator[str]:  # noqa: C901, PLR0912 - one per event
        """Takes in an event; yields what deserves a line of its own."""
        match event:
            case ev.DirectionOpened():
                self.topics[event.direction] = event.topic
            case ev.TaskDispatched():
                self.phase = {"plan": "planning", "report": "writing the report"}.get(
                    event.agent, "exploring"
                )
                self.agents[event.task] = event.agent
                self._visited[event.task] = event.direction
            case ev.ArtifactPosted():
                self.artifacts[event.artifact.type] += 1
            case ev.TaskSettled():
                yield from self._settled(event)
            case ev.StepsRecorded():
                self._spent(usage_of(event.steps))
            case ev.HistoryShared():
                self.cost_microdollars = 0
                yield f"{event.tasks:,} tasks are shared with the run that this one comes from"
            case ev.TaskRequeued() if event.cause != "forked":
                yield f"task {event.task} waits for another attempt: {event.reason}"
            case ev.TaskSuspended():
                agent = self.agents.pop(event.task, "?")
                yield f"task {event.task} of {agent} waits; coordinator inquiries lists what for"
            case ev.WorkerLost():
                self.lost += 1
                yield f"lost {event.worker}: {event.reason}"
            case ev.ExplorationStopped():
                yield f"exploring stops: {event.reason}"
            case ev.LeaderChanged() if event.lost_events:
                yield f"the store came back without its last {event.lost_events} events; going on from there"
            case ev.RunPaused():
                yield f"paused: {event.reason}; coordinator resume lets it go on"
            case ev.RunResumed():
                yield "goes on"
            case ev.RunEnded():
                self.phase = event.status
            case _:
                pass

    def _settled(self, event: ev.TaskSettled) -> Iterator[str]:
        agent = self.agents.pop(event.task, "?")
        self.settled[agent] += 1
        self._spent(event.usage)
        if event.status != "done":
            yield f"task {event.task} of {agent} ended {event.status}: {event.reason}"
        elif agent == "explore":
            self.explored += 1
            topic = self.topics.get(self._visited.get(event.task, ""), "")
            found = f"{event.artifacts} passage{'s' * (event.artifacts != 1)}"
            yield f"explored {topic!r}: {found}, reward {event.reward_micro / MICRO:.2f}"

    def _spent(self, usage: Usage) -> None:
        cost = usage.cost_microdollars
        known = self.cost_microdollars is not None and cost is not None
        self.cost_microdollars = (self.cost_microdollars or 0) + (cost or 0) if known else None

    def summary(self) -> str:
        """One line, for a live display."""
        of = f"/{self.budget_tasks}" if self.budget_tasks else ""
        return (
            f"{self.phase}: {self.explored}{of} visits, {len(self.topics)} directions, "
            f"{self.artifacts['passage']} passages, {self.artifacts['finding']} findings, "
            f"{len(self.agents)} tasks under way"
        )


def money(microdollars: int | None) -> str:
    """Unknown is not zero."""
    return "unknown" if microdollars is None else f"${microdollars / 1_000_000:.4f}"
