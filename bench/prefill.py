"""A run as it would be after many tasks, made without them: the production decisions, appended in bulk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blackboard import events as ev
from blackboard.encoding import encode_changes, encode_event
from blackboard.events import Event
from blackboard.evolve import begin
from blackboard.spec import RunSpec
from blackboard.store import Batch, BlackboardStore
from coordinator.clock import SystemClock
from coordinator.decide import decide
from coordinator.decision import Command, Commit, Env, Lead, Visit
from coordinator.run import Run
from protocol.messages import ArtifactDraft, FollowUp, SwarmDiscovery

GROUP_EVENTS = 2_000
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Brought:
    """What a task brings."""

    artifacts: Sequence[ArtifactDraft] = ()
    follow_ups: Sequence[FollowUp] = ()


class Prefill:
    """Leads a run of one agent while so many tasks bring something, and gives up the lead."""

    def __init__(self, store: BlackboardStore, spec: RunSpec) -> None:
        self._store = store
        self._spec = spec
        self._clock = SystemClock()
        created = ev.RunCreated(at_ms=self._clock.now_ms(), spec=spec)
        self._run = Run.of(begin(created))
        self._events: list[Event] = [created]
        self._head = 0

    async def fill(self, tasks: int, brings: Callable[[int], Brought]) -> int:
        """Position of the last event. What a task brings goes by the number of tasks before it."""
        token = self._clock.token()
        await self._append("")
        assert await self._store.acquire(self._spec.run, token, ttl_seconds=LEASE_SECONDS)
        self._do(Lead("prefill"))
        for number in range(tasks):
            self._do_one(brings(number))
            if len(self._events) >= GROUP_EVENTS:
                await self._append(token)
        await self._append(token)
        await self._store.release(self._spec.run, token)
        return self._head

    def _do_one(self, brought: Brought) -> None:
        [dispatched] = self._do(Visit(self._spec.agents[0].name))
        assert isinstance(dispatched, ev.TaskDispatched)
        discovery = SwarmDiscovery(
            run=self._spec.run,
            task=dispatched.task,
            token=dispatched.token,
            worker="prefill",
            incarnation="prefill",
            artifacts=tuple(brought.artifacts),
            follow_ups=tuple(brought.follow_ups),
            reward=0.5,
        )
        self._do(Commit(discovery, None))

    def _do(self, command: Command) -> list[Event]:
        env = Env(time.time_ns() // 1_000_000, self._clock.token, self._clock.draw)
        events = decide(self._run, command, env).events
        for event in events:
            self._run.apply(event)
        self._events += events
        return events

    async def _append(self, token: str) -> None:
        written = encode_changes(self._run.state)
        batch = Batch(
            run=self._spec.run,
            token=token,
            head=self._head,
            events=[encode_event(event) for event in self._events],
            rows=written.rows,
            dropped=written.dropped,
            artifacts=written.artifacts,
        )
        self._events = []
        self._head = await self._store.append(batch, ttl_seconds=LEASE_SECONDS)
