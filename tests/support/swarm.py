"""The production coordinator and workers in one loop, on the in-memory store and bus: for virtual time."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from agents.agent import Agent
from agents.identity import Identity
from agents.observations import Observers as WorkerObservers
from agents.pulse import LoopPulse
from agents.worker_core import Limits, Worker
from blackboard.encoding import (
    decode_direction,
    decode_event,
    decode_inquiry,
    decode_task,
    decode_totals,
    encode_event,
    encode_row,
)
from blackboard.evolve import fold
from blackboard.memory import MemoryStore
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow, RunState, TaskRow, Totals, living
from blackboard.store import BlackboardStore
from coordinator.observations import Observation, Observers
from coordinator.service import Coordinator
from coordinator.settings import Retention, Settings
from coordinator.submit import submit
from protocol.transport.contract import Transport
from protocol.transport.memory import MemoryBus, MemoryTransport

WALL_MS = 1_700_000_000_000
WHOLE_LOGS = Settings(retention=Retention(log_events=1_000_000))
"""`check` folds a log from its first event."""


@dataclass
class SeededClock:
    """Wall clock from the loop's time; tokens and draws from a seed."""

    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def now_ms(self) -> int:
        return WALL_MS + round(anyio.current_time() * 1000)

    def token(self) -> str:
        return f"{self._random.getrandbits(96):024x}"

    def draw(self) -> float:
        return self._random.random()


@dataclass
class Swarm:
    """Starts and kills coordinators and workers of one store and bus."""

    tasks: TaskGroup
    settings: Settings = WHOLE_LOGS
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: SeededClock = field(default_factory=SeededClock)
    seen: list[Observation] = field(default_factory=list)
    coordinators: dict[str, Coordinator] = field(default_factory=dict)
    _scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)
    _transports: dict[str, "MuteTransport"] = field(default_factory=dict)

    def start_coordinator(
        self, name: str = "c1", *, store: BlackboardStore | None = None, transport: Transport | None = None
    ) -> Coordinator:
        """Starts a coordinator, on its own way to the store and to the bus if there is one."""
        observers = Observers()
        observers.subscribe(self.seen.append)
        coordinator = Coordinator(
            store or self.store,
            transport or MemoryTransport(self.bus),
            self.settings,
            self.clock,
            observers,
            name=name,
        )
        self.coordinators[name] = coordinator
        self._start(name, coordinator.serve)
        return coordinator

    def start_worker(self, name: str, agents: Mapping[str, Agent], slots: int = 2) -> None:
        transport = self._transports[name] = MuteTransport(MemoryTransport(self.bus))
        observers = WorkerObservers()
        identity = Identity(name, self.clock.token(), "test", self.clock.now_ms)
        pulse = LoopPulse(transport, self.settings.liveness.heartbeat_seconds, observers)
        worker = Worker(identity, agents, transport, pulse, Limits(slots=slots), observers, self.clock.draw)
        self._start(name, worker.run)

    def silence(self, name: str) -> None:
        """Nothing of the worker reaches the bus any more, nor it of the bus."""
        self._transports[name].mute = True

    def hear_again(self, name: str) -> None:
        self._transports[name].mute = False

    def kill(self, name: str) -> None:
        """As kill -9: nothing is said any more."""
        if name in self._transports:
            self.silence(name)
        self._scopes.pop(name).cancel()

    def _start(self, name: str, run) -> None:
        scope = self._scopes[name] = anyio.CancelScope()

        async def scoped() -> None:
            with scope:
                await run()

        self.tasks.start_soon(scoped, name=name)

    async def submit(self, spec: RunSpec) -> str:
        await submit(self.store, MemoryTransport(self.bus), spec, now_ms=self.clock.now_ms(), max_active=100)
        return spec.run

    async def totals(self, run: str) -> Totals:
        return decode_totals((await self.store.rows(run, "run", ["totals"]))["totals"])

    async def task_rows(self, run: str) -> dict[str, TaskRow]:
        return {key: decode_task(row) for key, row in (await self.store.rows(run, "task")).items()}

    async def directions(self, run: str) -> dict[str, DirectionRow]:
        return {key: decode_direction(row) for key, row in (await self.store.rows(run, "direction")).items()}

    async def events(self, run: str) -> list:
        entries, after = [], 0
        while page := await self.store.log(run, after=after):
            entries += [decode_event(entry.event) for entry in page]
            after = page[-1].position
        return entries

    async def ended(self, run: str, *, within_seconds: float = 600) -> Totals:
        """Waits for the end of a run."""
        with anyio.fail_after(within_seconds):
            while not (totals := await self.totals(run)).ended:
                await anyio.sleep(0.05)
        return totals

    async def check(self, run: str) -> RunState:
        """The rows in the store are the fold of the log."""
        events = await self.events(run)
        state = fold(events)
        assert state.tasks == await self.task_rows(run)
        assert state.directions == await self.directions(run)
        assert state.totals == await self.totals(run)
        inquiries = (await self.store.rows(run, "inquiry")).items()
        assert state.inquiries == {key: decode_inquiry(row) for key, row in inquiries}
        steps = {key: encode_row(row) for (of, key), row in state.changes.items() if of == "step"}
        assert steps == await self.store.rows(run, "step")
        assert living(state) == set(await self.store.rows(run, "live"))
        for kind in ("journal", "dead"):
            named = {key for (of, key), there in state.marks.items() if of == kind and there}
            assert named == set(await self.store.rows(run, kind))
        assert [decode_event(encode_event(event)) for event in events] == events
        return state


class MuteTransport:
    """A transport that can be cut off, both ways."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self.mute = False

    def __getattr__(self, name: str):
        return getattr(self._transport, name)

    def emit(self, subject: str, data: bytes, headers=None) -> None:
        if not self.mute:
            self._transport.emit(subject, data, headers)

    async def publish(self, subject: str, data: bytes, *, message_id: str, headers=None) -> None:
        while self.mute:
            await anyio.sleep(1)
        await self._transport.publish(subject, data, message_id=message_id, headers=headers)

    def publish_all(self, publications, *, done) -> None:
        if not self.mute:
            self._transport.publish_all(publications, done=done)

    async def request(self, subject: str, data: bytes, *, timeout_seconds: float) -> bytes:
        while self.mute:
            await anyio.sleep(1)
        return await self._transport.request(subject, data, timeout_seconds=timeout_seconds)

    def subscribe(self, subject: str, handler, *, queue: str = ""):
        return self._transport.subscribe(subject, self._unless_mute(handler), queue=queue)

    def pull(self, stream: str, durable: str, handler):
        return self._transport.pull(stream, durable, self._unless_mute(handler))

    def _unless_mute(self, handler):
        def heard(message) -> None:
            if not self.mute:
                handler(message)

        return heard


@asynccontextmanager
async def swarm(**changes: object) -> AsyncGenerator[Swarm]:
    """An empty swarm: no coordinator and no worker yet."""
    async with anyio.create_task_group() as tasks:
        found = Swarm(tasks, **changes)
        tasks.start_soon(found.bus.run, name="bus")
        yield found
        tasks.cancel_scope.cancel()
