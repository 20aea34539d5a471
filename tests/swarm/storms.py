"""Storms: seeded faults over a swarm in virtual time, with everything that can go wrong between processes."""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
from anyio.abc import TaskGroup
from pydantic import BaseModel

from agents.agent import Agent, AgentFailure, Context, Discovery, InquiryFailed, WaitTimedOut, agent
from blackboard import events as ev
from blackboard.events import Event
from blackboard.memory import MemoryStore, Snapshot
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import RunState, TaskRow
from coordinator.settings import Settings
from protocol.artifacts import artifact
from protocol.errors import StoreUnavailable
from protocol.messages import FollowUp
from protocol.transport.memory import MemoryBus
from tests.support.swarm import SeededClock, Swarm

SETTINGS = Settings.model_validate({"liveness": {"silence_seconds": 30, "heartbeat_seconds": 5}})
CALM_SECONDS = 3_000
"""How long a run may take to its end once the faults have stopped."""


@artifact("storm-find")
class Find(BaseModel, frozen=True):
    text: str


class RoughBus(MemoryBus):
    """Loses, delays and repeats messages while `rough`."""

    def __init__(self, tasks: TaskGroup, chance: random.Random) -> None:
        super().__init__()
        self._tasks = tasks
        self._chance = chance
        self.rough = False

    def send(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        answer: Callable[[bytes], None] | None = None,
    ) -> tuple[bool, bool]:
        if not self.rough:
            return super().send(subject, data, headers, answer)
        draw = self._chance.random()
        if draw < 0.04:
            again = {**headers, "Nats-Msg-Id": f"again-{self._chance.getrandbits(64)}"}
            self._later(subject, data, again, answer)
        elif draw < 0.07 and not self._stored(subject):
            self._later(subject, data, headers, answer)
            return True, False
        elif draw < 0.10:
            return True, True
        return super().send(subject, data, headers, answer)

    def _stored(self, subject: str) -> bool:
        return any(stream.takes(subject) for stream in self.streams.values())

    def _later(self, *message: object) -> None:
        async def send(seconds: float) -> None:
            await anyio.sleep(seconds)
            MemoryBus.send(self, *message)  # pyright: ignore[reportArgumentType]

        self._tasks.start_soon(send, self._chance.choice((0.01, 0.5, 5.0, 60.0)))


class Door:
    """One coordinator's way to the store; closed, nothing passes and nobody hears."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.closed = False

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        async def call(*arguments: object, **options: object) -> object:
            if self.closed:
                await anyio.sleep(1)
                raise StoreUnavailable(name, "cut off")
            return await method(*arguments, **options)

        return call


@dataclass
class Storm:
    """One seed: a swarm, its faults, and what must hold when they are over."""

    seed: int
    tasks: TaskGroup
    swarm: Swarm = field(init=False)
    doors: dict[str, Door] = field(default_factory=dict)
    copies: list[tuple[float, Snapshot]] = field(default_factory=list)
    rolled_back: bool = False
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        bus = RoughBus(self.tasks, random.Random(self.seed + 1))
        self.swarm = Swarm(self.tasks, SETTINGS, bus=bus, clock=SeededClock(self.seed))
        self.tasks.start_soon(bus.run, name="bus")

    def agents(self) -> dict[str, Agent]:
        chance = self.chance

        @agent("dig", publishes=[Find])
        async def dig(context: Context) -> Discovery:
            await anyio.sleep(chance.choice((0.0, 0.1, 1.0, 8.0)))
            await context.step("paid", context.topic, _paid)
            if chance.random() < 0.3:
                await _wait(context, chance.choice(("sleep", "ask", "ask both", "nobody answers")))
            draw = chance.random()
            if draw < 0.03:
                raise AgentFailure("transient", "a hiccup")
            if draw < 0.04:
                raise AgentFailure("capacity", "too fast")
            if draw < 0.05:
                raise ValueError("a bug")
            follow = (FollowUp(agent="dig", topic=f"{context.topic} {context.visit}"),) if draw < 0.3 else ()
            return Discovery([Find(text=context.task)], reward=round(draw, 3), follow_ups=follow)

        @agent("check", consumes=[Find], publishes=[Find])
        async def check(context: Context) -> Discovery:
            await anyio.sleep(chance.choice((0.0, 0.5)))
            return Discovery(reward=1.0)

        @agent("know", publishes=[Find])
        async def know(context: Context) -> Discovery:
            await anyio.sleep(chance.choice((0.0, 1.0, 8.0)))
            if chance.random() < 0.1:
                raise AgentFailure("user", "nobody knows")
            return Discovery([Find(text=context.topic)], reward=0.1)

        @agent("tally", consumes=[Find])
        async def tally(context: Context) -> Discovery:
            return Discovery(reward=len(await context.board.all(Find)) > 0)

        return {"dig": dig, "check": check, "know": know, "tally": tally}

    def spec(self, run: str, tasks: int) -> RunSpec:
        return RunSpec(
            run=run,
            goal="dig",
            agents=(
                AgentSpec(name="dig", publishes=("storm-find",)),
                AgentSpec(name="check", trigger="artifacts", consumes=("storm-find",)),
                AgentSpec(name="know", publishes=("storm-find",)),
                AgentSpec(name="tally", trigger="finish"),
            ),
            roots=(FollowUp(agent="dig", topic="one"), FollowUp(agent="dig", topic="two")),
            budget=Budget(tasks=tasks),
            max_attempts=50,
            seed=self.seed,
        )

    def start_coordinator(self, name: str) -> None:
        door = self.doors[name] = Door(self.swarm.store)
        self.swarm.start_coordinator(name, store=door)

    def start_worker(self, name: str) -> None:
        self.swarm.start_worker(name, self.agents(), slots=self.chance.choice((1, 3, 8)))

    async def rage(self, seconds: float) -> None:
        """Faults at random moments for so long; then everything is healed."""
        end = anyio.current_time() + seconds
        bus = self.swarm.bus
        assert isinstance(bus, RoughBus)
        bus.rough = True
        while anyio.current_time() < end:
            await anyio.sleep(self.chance.choice((0.1, 0.7, 3.0, 11.0)))
            self._keep_a_copy()
            fault = self.chance.choice(FAULTS)
            self.said.append(f"{anyio.current_time():.1f} {fault.__name__}")
            fault(self)
        bus.rough = False
        for door in self.doors.values():
            door.closed = False
        for name in ("w1", "w2", "w3"):
            self.swarm.hear_again(name)

    def _keep_a_copy(self) -> None:
        now = anyio.current_time()
        self.copies = [copy for copy in self.copies if now - copy[0] <= 5.0]
        self.copies.append((now, self.swarm.store.snapshot()))

    def restart_worker(self) -> None:
        name = self.chance.choice(("w1", "w2", "w3"))
        self.swarm.kill(name)
        self.start_worker(name)

    def mute_worker(self) -> None:
        self.swarm.silence(self.chance.choice(("w1", "w2", "w3")))

    def unmute_workers(self) -> None:
        for name in ("w1", "w2", "w3"):
            self.swarm.hear_again(name)

    def kill_coordinator(self) -> None:
        name = self.chance.choice(("c1", "c2"))
        self.doors[name].closed = True
        self.swarm.kill(name)
        self.start_coordinator(name)

    def stop_coordinator(self) -> None:
        name = self.chance.choice(("c1", "c2"))
        self.swarm.kill(name)
        self.start_coordinator(name)

    def cut_coordinator(self) -> None:
        self.doors[self.chance.choice(("c1", "c2"))].closed = True

    def mend_coordinators(self) -> None:
        for door in self.doors.values():
            door.closed = False

    def lose_replies(self) -> None:
        self.swarm.store.lose_replies(self.chance.choice((1, 5)))

    def wipe_bus(self) -> None:
        self.swarm.bus.streams.clear()

    def roll_back(self) -> None:
        self.rolled_back = True
        self.swarm.store.restore(self.chance.choice(self.copies)[1])

    async def check(self, run: str) -> RunState:
        """P1, P2, P3 and P6 at the end."""
        state = await self.swarm.check(run)
        events = await self.swarm.events(run)
        check_ends(events, state)
        for direction in state.directions.values():
            told = [task for task in _of(state, direction.id) if task.status != "cancelled"]
            assert direction.visits == len(told)
            assert direction.in_flight == 0
            assert direction.reward_sum_micro == sum(task.reward_micro for task in told)
        posted = [event.artifact for event in events if isinstance(event, ev.ArtifactPosted)]
        assert len({one.id for one in posted}) == len(posted)
        assert set(await self.swarm.store.artifacts(run, [one.id for one in posted])) == {
            one.id for one in posted
        }
        return state


FAULTS = (
    Storm.restart_worker,
    Storm.mute_worker,
    Storm.unmute_workers,
    Storm.kill_coordinator,
    Storm.stop_coordinator,
    Storm.cut_coordinator,
    Storm.mend_coordinators,
    Storm.lose_replies,
    Storm.wipe_bus,
    Storm.roll_back,
)


async def _paid() -> str:
    return "paid"


async def _wait(context: Context, how: str) -> None:
    """One wait, or several at a time; that it fails is as good as an answer."""
    with suppress(InquiryFailed, WaitTimedOut):
        if how == "sleep":
            await context.sleep(5)
        elif how == "ask":
            await context.ask("know", context.topic)
        elif how == "nobody answers":
            await context.ask_human("well?", timeout=timedelta(seconds=20))
        else:
            async with anyio.create_task_group() as siblings:
                siblings.start_soon(_wait, context, "ask")
                siblings.start_soon(_wait, context, "sleep")


def _of(state: RunState, direction: str) -> list[TaskRow]:
    return [task for task in state.tasks.values() if task.direction == direction]


def check_ends(events: list[Event], state: RunState) -> None:
    ends = [event.task for event in events if isinstance(event, ev.TaskSettled)]
    assert sorted(ends) == sorted(state.tasks), "a task never ended, or twice"
    tokens = [event.token for event in events if isinstance(event, ev.TaskDispatched)]
    assert len(tokens) == len(set(tokens)), "dispatched twice under one token"
    holders: dict[str, set[tuple[str, str]]] = {}
    for event in events:
        if isinstance(event, ev.TasksClaimed):
            for token in event.tasks.values():
                holders.setdefault(token, set()).add((event.worker, event.incarnation))
    assert all(len(found) == 1 for found in holders.values()), "two workers were granted one token"
    assert all(task.reason or task.status == "done" for task in state.tasks.values()), "no reason recorded"


async def storm(seed: int, *, runs: int = 2, tasks: int = 60, seconds: float = 120) -> None:
    """One storm from its first fault to the checks."""
    async with anyio.create_task_group() as group:
        found = Storm(seed, group)
        for name in ("c1", "c2"):
            found.start_coordinator(name)
        for name in ("w1", "w2", "w3"):
            found.start_worker(name)
        names = [f"run-{number}" for number in range(runs)]
        for name in names:
            await found.swarm.submit(found.spec(name, tasks))
        await anyio.sleep(1)
        await found.rage(seconds)
        for name in names:
            await found.swarm.ended(name, within_seconds=CALM_SECONDS)
        await anyio.sleep(60)
        for name in names:
            await found.check(name)
        group.cancel_scope.cancel()
