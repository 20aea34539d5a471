"""An agent's context without a worker: a board in memory and a journal that replays.

For tests of agents themselves; the worker's own context is tested with the worker.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import BaseModel, JsonValue

from agents.agent import (
    Agent,
    Discovery,
    Found,
    Payload_co,
    Permit,
    Posting,
    Priced,
    ProviderCall,
    Reconcile,
)
from agents.branches import BRANCH, branch, within
from agents.permits import Turn
from agents.providers import Call
from protocol.artifacts import Artifact, ArtifactRegistry, Producer, digest_of
from protocol.ids import artifact_id, derive, direction_id, task_id
from protocol.messages import EffectKind, Usage
from protocol.prices import PriceTable


@dataclass
class MemoryBoard:
    """The artifacts of one run, as every agent sees them."""

    artifacts: list[Artifact] = field(default_factory=list)
    queries: int = 0

    def add(
        self, agent: str, direction: str, task: str, items: Sequence[BaseModel | Posting]
    ) -> list[Artifact]:
        ordinals: dict[str, int] = {}
        added = []
        for item in items:
            posting = item if isinstance(item, Posting) else Posting(item)
            name, version = ArtifactRegistry.shared.name_of(type(posting.payload))
            ordinals[name] = ordinals.get(name, -1) + 1
            payload = posting.payload.model_dump(mode="json")
            artifact = Artifact(
                id=artifact_id(task, name, posting.key or str(ordinals[name])),
                run="run",
                number=len(self.artifacts) + 1,
                type=name,
                version=version,
                payload=payload,
                digest=digest_of(payload),
                producer=Producer(agent=agent, task=task, attempt=1),
                direction=direction,
                parents=posting.parents,
                tags=posting.tags,
                text=posting.text,
                created_ms=0,
            )
            self.artifacts.append(artifact)
            added.append(artifact)
        return added

    def of(self, payload: type[Payload_co]) -> list[Found[Payload_co]]:
        name, _ = ArtifactRegistry.shared.name_of(payload)
        chosen = [artifact for artifact in self.artifacts if artifact.type == name]
        return [Found(artifact, payload.model_validate(artifact.payload)) for artifact in reversed(chosen)]

    async def get(self, ids: Sequence[str]) -> Sequence[Artifact]:
        return [artifact for artifact in self.artifacts if artifact.id in ids]

    async def query(
        self,
        *,
        type: type[BaseModel] | str | None = None,
        tag: str | None = None,
        limit: int = 50,
        **_: Any,
    ) -> tuple[Sequence[Artifact], int | None]:
        self.queries += 1
        name = type if type is None or isinstance(type, str) else ArtifactRegistry.shared.name_of(type)[0]
        chosen = [
            a for a in reversed(self.artifacts) if name in {None, a.type} and (tag is None or tag in a.tags)
        ]
        return chosen[:limit], None

    async def all(self, payload: type[Payload_co], *, limit: int = 10_000) -> Sequence[Found[Payload_co]]:
        return self.of(payload)[:limit]


@dataclass
class FakeContext:
    """A context; `journal` given to a second one makes it the second attempt of the first."""

    agent: str
    goal: str
    settings: Mapping[str, JsonValue]
    topic: str = ""
    visit: int = 1
    attempt: int = 1
    inputs: Sequence[Artifact] = ()
    board: MemoryBoard = field(default_factory=MemoryBoard)
    journal: dict[str, dict[int, JsonValue]] = field(default_factory=dict)
    run: str = "run"
    deadline_ms: int | None = None
    prices: PriceTable = field(default_factory=PriceTable)
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    """What the calls that were made have cost."""
    gauges: dict[str, float] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    """Paths of the steps and effects that were made."""
    _occurrences: dict[str, int] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        return direction_id(self.run, self.agent, self.topic, tuple(a.id for a in self.inputs))

    @property
    def task(self) -> str:
        return task_id(self.run, self.direction, self.visit)

    def load(self, artifact: Artifact, payload: type[Payload_co]) -> Payload_co:
        return payload.model_validate(artifact.payload)

    async def step(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[], Awaitable[JsonValue | Priced]],
        *,
        usage: Usage | None = None,
    ) -> JsonValue:
        key = f"{BRANCH.get()} {path} {digest_of(request)}"
        occurrence = self._occurrences.get(key, 0)
        self._occurrences[key] = occurrence + 1
        recorded = self.journal.setdefault(key, {})
        if occurrence not in recorded:
            self.calls += 1
            outcome = await call()
            priced = outcome if isinstance(outcome, Priced) else Priced(outcome, usage or Usage())
            recorded[occurrence] = priced.value
            self.usage = self.usage.plus(priced.usage)
            self.paths.append(within(BRANCH.get(), path))
        return recorded[occurrence]

    async def effect(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        kind: EffectKind = "unsafe",
        reconcile: Reconcile | None = None,
    ) -> JsonValue:
        path = within(BRANCH.get(), path)
        ordinal = self._occurrences.get(path, 0)
        self._occurrences[path] = ordinal + 1
        key = derive("effect", self.run, self.task, path, str(ordinal))
        recorded = self.journal.setdefault(key, {})
        if 0 not in recorded:
            self.paths.append(path)
            recorded[0] = await call(key)
        return recorded[0]

    def branch(self, name: str) -> AbstractContextManager[None]:
        return branch(name)

    def provider(self, name: str) -> AbstractAsyncContextManager[ProviderCall]:
        return nullcontext(Call())

    def permit(self, model: str) -> AbstractAsyncContextManager[Permit]:
        return nullcontext(Turn())

    def gauge(self, name: str, value: float) -> None:
        self.gauges[name] = value

    def progress(self) -> None:
        pass


async def run_agent(agent: Agent, context: FakeContext) -> Discovery:
    """Runs an agent where it says it runs, and posts what it found."""
    discovery = await discover(agent, context)
    context.board.add(agent.name, context.direction, context.task, discovery.artifacts)
    return discovery


async def discover(agent: Agent, context: FakeContext) -> Discovery:
    """The same without posting."""
    function: Any = agent.function
    if agent.runs_in == "thread":
        return await anyio.to_thread.run_sync(function, context)
    return await function(context)


@dataclass
class Research:
    """A research run in process: directions in order of prior, best first, until the budget is spent."""

    question: str
    settings: Mapping[str, JsonValue]
    board: MemoryBoard = field(default_factory=MemoryBoard)
    visits: int = 0
    rewards: list[float] = field(default_factory=list)
    gauges: dict[str, float] = field(default_factory=dict)

    async def run(self, agents: Mapping[str, Agent], budget: int) -> None:
        planned = await run_agent(agents["plan"], self._context("plan", self.question))
        waiting = {item.topic: (item.prior or 0.5, 1) for item in planned.follow_ups}
        known = set(waiting)
        while waiting and self.visits < budget:
            topic = max(waiting, key=lambda name: waiting[name][0])
            _, visit = waiting.pop(topic)
            context = self._context("explore", topic, visit=visit)
            before = len(self.board.artifacts)
            discovery = await run_agent(agents["explore"], context)
            self.rewards.append(discovery.reward)
            self.gauges |= context.gauges
            self.visits += 1
            for item in discovery.follow_ups:
                if item.topic not in known:
                    known.add(item.topic)
                    waiting[item.topic] = (item.prior or 0.5, 1)
            if not discovery.exhausted:
                waiting[topic] = (discovery.reward * 0.9, visit + 1)
            passages = [a for a in self.board.artifacts[before:] if a.type == "passage"]
            if passages:
                await run_agent(agents["verify"], self._context("verify", "", inputs=passages))

    def _context(
        self, agent: str, topic: str, *, visit: int = 1, inputs: Sequence[Artifact] = ()
    ) -> FakeContext:
        return FakeContext(agent, self.question, self.settings, topic, visit, inputs=inputs, board=self.board)

    async def report(self, agent: Agent) -> Discovery:
        return await run_agent(agent, self._context("report", ""))
