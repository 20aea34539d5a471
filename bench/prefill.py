"""A board as it would be after many tasks, made without them: the production decisions, appended in bulk."""

import secrets
import time

from poster import TYPE, text_of

from blackboard import events as ev
from blackboard.encoding import encode_changes, encode_event
from blackboard.events import Event
from blackboard.evolve import begin
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.store import Batch, BlackboardStore
from coordinator.clock import SystemClock
from coordinator.decide import decide
from coordinator.decision import Command, Commit, Env, Lead, Visit
from coordinator.run import Run
from protocol.messages import ArtifactDraft, FollowUp, SwarmDiscovery

GROUP_TASKS = 500
LEASE_SECONDS = 60.0


class Prefill:
    """Leads a run until its board holds what is asked for, and gives up the lead."""

    def __init__(self, store: BlackboardStore, artifacts: int, further_tasks: int) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = SystemClock()
        self.spec = RunSpec(
            run=f"board-{artifacts}-{secrets.token_hex(4)}",
            goal="post notes",
            agents=(AgentSpec(name="poster", publishes=(TYPE,)),),
            roots=(FollowUp(agent="poster", topic="notes"),),
            budget=Budget(tasks=artifacts + further_tasks),
        )
        created = ev.RunCreated(at_ms=self._clock.now_ms(), spec=self.spec)
        self._run = Run.of(begin(created))
        self._events: list[Event] = [created]
        self._head = 0

    async def fill(self) -> str:
        """The run's id. Every artifact is the result of a task of its own."""
        token = self._clock.token()
        await self._append("")
        assert await self._store.acquire(self.spec.run, token, ttl_seconds=LEASE_SECONDS)
        self._do(Lead("prefill"))
        for number in range(self._artifacts):
            self._post_one()
            if (number + 1) % GROUP_TASKS == 0:
                await self._append(token)
        await self._append(token)
        await self._store.release(self.spec.run, token)
        return self.spec.run

    def _post_one(self) -> None:
        [dispatched] = self._do(Visit("poster"))
        assert isinstance(dispatched, ev.TaskDispatched)
        text = text_of(dispatched.visit)
        discovery = SwarmDiscovery(
            run=self.spec.run,
            task=dispatched.task,
            token=dispatched.token,
            worker="prefill",
            incarnation="prefill",
            artifacts=(ArtifactDraft(type=TYPE, payload={"text": text}, text=text),),
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
            run=self.spec.run,
            token=token,
            head=self._head,
            events=[encode_event(event) for event in self._events],
            rows=written.rows,
            dropped=written.dropped,
            artifacts=written.artifacts,
        )
        self._events = []
        self._head = await self._store.append(batch, ttl_seconds=LEASE_SECONDS)
