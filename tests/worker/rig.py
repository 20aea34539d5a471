"""A worker and a scripted leader on one in-memory bus."""

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from agents.agent import Agent, Context, Discovery, agent
from agents.identity import Identity
from agents.observations import Observation, Observers
from agents.pulse import LoopPulse
from agents.worker_core import Ending, Limits, Worker
from protocol.messages import SwarmDiscovery
from protocol.transport.memory import MemoryBus, MemoryTransport
from tests.support.fake_leader import FakeLeader
from tests.support.virtual import run_virtually
from tests.support.waiting import wait_until

WALL_MS = 1_700_000_000_000


def virtually(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs an async test in virtual time."""

    @functools.wraps(test)
    def run() -> None:
        run_virtually(test)

    del run.__wrapped__
    return run


@agent("echo")
async def echo(_context: Context) -> Discovery:
    return Discovery(reward=0.5)


@dataclass
class Rig:
    leader: FakeLeader
    worker: Worker
    seen: list[Observation]
    endings: list[Ending] = field(default_factory=list)

    async def discovery(self, seconds: float = 60) -> SwarmDiscovery:
        """The first discovery that reached the leader."""
        await self.until(lambda: bool(self.leader.discoveries), seconds)
        return self.leader.discoveries[0]

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        await wait_until(condition, seconds)

    async def at_rest(self) -> None:
        """Nothing runs and no discovery waits for its receipt."""
        await self.until(lambda: not self.worker.ledger.taken and not self.held)

    @property
    def held(self) -> list[str]:
        return [one.token for one in self.worker.ledger.beat().held]

    def saw(self, kind: type) -> list:
        return [one for one in self.seen if isinstance(one, kind)]


@asynccontextmanager
async def rig(*agents: Agent, **limits: object) -> AsyncGenerator[Rig]:
    """A running worker that offers `agents`, and a leader that grants everything."""
    offered = {one.name: one for one in agents or (echo,)}
    bus = MemoryBus()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.run)
        leader = FakeLeader(MemoryTransport(bus), agents=tuple(offered))
        async with leader.leading():
            transport = MemoryTransport(bus)
            observers, seen = Observers(), []
            observers.subscribe(seen.append)
            identity = Identity(
                "w1", "incarnation-1", "test", lambda: WALL_MS + round(anyio.current_time() * 1000)
            )
            worker = Worker(
                identity,
                offered,
                transport,
                LoopPulse(transport, 10, observers),
                Limits(**limits),
                observers,
                lambda: 0.5,
            )
            found = Rig(leader, worker, seen)

            async def run() -> None:
                found.endings.append(await worker.run())

            tasks.start_soon(run, name="worker")
            await found.until(lambda: bool(leader.beats))
            yield found
        tasks.cancel_scope.cancel()
