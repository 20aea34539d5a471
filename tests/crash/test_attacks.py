"""Hostile messages, careless agents, emptied and rolled-back servers: the promises hold on real processes."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol import subjects
from protocol.codec import encode
from protocol.errors import TransportUnavailable
from protocol.messages import (
    ClaimRequest,
    FollowUp,
    Held,
    Lease,
    QueryRequest,
    Record,
    SwarmDiscovery,
    SwarmHeartbeat,
)
from protocol.transport.contract import Publication
from tests.crash.agents_for_attacks import UNICODE
from tests.crash.hive import FAST, Clients, Hive, check, crash_spec
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
AGENTS = "tests.crash.agents_for_attacks"
TOPICS = (
    "nonsense",
    "not a number",
    "many artifacts",
    "too many artifacts",
    "many follow-ups",
    "huge",
    "growing numbers",
    "system exit",
    UNICODE,
)


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path)
    yield hive
    hive.stop_all()


def misbehaving(run: str, topics: tuple[str, ...] = TOPICS, tasks: int = 60) -> RunSpec:
    return RunSpec(
        run=run,
        goal=UNICODE,
        agents=(AgentSpec(name="misbehave", publishes=("scrap",)),),
        roots=tuple(FollowUp(agent="misbehave", topic=topic, max_visits=1) for topic in topics),
        budget=Budget(tasks=tasks),
    )


def sealed(message: Record, number: int = 1) -> bytes:
    return encode(message, source="w9", message_id=f"attack-{number}", time_ms=0)


async def test_careless_agents_end_with_a_reason_and_harm_nobody(hive):
    hive.start_coordinator()
    hive.start_worker("w1", agents=AGENTS)
    async with hive.clients() as clients:
        run = await clients.submit(misbehaving("run-1"))
        await clients.ended(run)
        hive.receipts.clear()
        state = await check(hive, clients, run)
        ended = {state.directions[task.direction].topic: task for task in state.tasks.values()}
        dead = {topic for topic in TOPICS if ended[topic].status == "dead"}
        assert dead == {"nonsense", "not a number", "too many artifacts", "system exit"}
        assert all(ended[topic].status == "done" for topic in set(TOPICS) - dead)
        assert "more than 65,536 values" in ended["too many artifacts"].reason
        assert ended["many artifacts"].artifacts == 2_000
        assert len(state.directions) == 4_000 + len(TOPICS)
        assert hive.running() == ["c1", "w1"]


async def test_forged_and_broken_messages_are_refused_while_a_run_goes_on(hive):
    hive.start(coordinators=2, workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, 3)
        await _attack(clients, run)
        await clients.ended(run)
        state = await check(hive, clients, run)
        assert state.totals.status == "done"
        assert state.totals.refused >= 1
        assert sorted(hive.running()) == ["c1", "c2", "w1", "w2"]


async def _attack(clients: Clients, run: str) -> None:
    bus = clients.transport
    forged = SwarmDiscovery(run=run, task="nobody", token="none", worker="w1", incarnation="i", reward=1.0)
    large = SwarmDiscovery.model_validate(
        {
            **forged.model_dump(),
            "artifacts": [{"type": "nugget", "payload": {"numbers": [1e9] * 80_000}}],
        }
    )
    held = tuple(Held(task=f"t{n}", token=f"k{n}", run="no-such-run") for n in range(5_000))
    for number, (subject, data) in enumerate(
        [
            (subjects.discoveries("w1", run), sealed(forged)),
            (subjects.discoveries("w1", run), sealed(forged.model_copy(update={"run": "another"}))),
            (subjects.discoveries("w2", run), sealed(forged)),
            (subjects.discoveries("w1", run), sealed(large)),
            (subjects.discoveries("w1", run), sealed(forged).replace(b"1.0", b"NaN")),
            (subjects.discoveries("w1", run), b"\x00" * 900_000),
            (subjects.discoveries("w1", run), b"[" * 100_000),
            (subjects.discoveries("w9", "no-such-run"), sealed(forged)),
            ("swarm.discoveries", sealed(forged)),
            ("swarm.discoveries", b"{}"),
            ("swarm.tasks", b"{}"),
            (subjects.tasks("dig"), b"garbage"),
            (subjects.heartbeat("w9"), sealed(SwarmHeartbeat(worker="w9", incarnation="i", held=held))),
            (subjects.heartbeat("w9"), sealed(SwarmHeartbeat(worker="w1", incarnation="i"))),
            (subjects.heartbeat("w9"), b"{"),
        ]
    ):
        bus.publish_all([Publication(subject, data, f"attack-{number}")], done=lambda _error: None)
    claim = ClaimRequest(
        worker="w9",
        incarnation="i",
        number=1,
        leases=tuple(Lease(task=f"t{n}", token=f"k{n}") for n in range(1000)),
    )
    for verb, message in (("claim", claim), ("query", QueryRequest(agent="dig", limit=200)), ("get", claim)):
        answer = await bus.request(subjects.board(run, "w9", verb), sealed(message), timeout_seconds=10)
        assert answer


async def test_a_bus_that_lost_everything_is_filled_again_from_the_log(hive):
    hive.start(coordinators=2, workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, 5)
        hive.nats.kill()
        shutil.rmtree(hive.nats.folder / "data")
        hive.nats.start()
        assert (await clients.ended(run)).status == "done"
        await check(hive, clients, run)


async def test_a_redis_that_came_back_older_is_recorded_as_an_incident_and_the_run_ends(hive):
    hive.start(coordinators=2, workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=80))
        await clients.settled(run, 8)
        files = hive.redis.folder
        await anyio.to_thread.run_sync(_copy, files, hive.folder / "older")
        await clients.settled(run, 25)
        hive.redis.kill()
        await anyio.to_thread.run_sync(_put_back, hive.folder / "older", files)
        hive.redis.start()
        totals = await clients.ended(run)
        assert totals.lost_events > 0
        assert totals.status == "done"
        hive.receipts.clear()
        await check(hive, clients, run)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)


def _put_back(copy: Path, target: Path) -> None:
    for path in copy.rglob("*.aof*"):
        shutil.copy(path, target / path.relative_to(copy))


async def test_two_coordinators_frozen_past_their_leases_write_nothing_twice(hive):
    hive.start(coordinators=2, workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, 5)
        for name in ("c1", "c2"):
            hive.signal(name, signal.SIGSTOP)
        await anyio.sleep(2 * float(FAST["SWARMBOARD_LIVENESS_LEASE_SECONDS"]))
        for name in ("c2", "c1"):
            hive.signal(name, signal.SIGCONT)
        assert (await clients.ended(run)).status == "done"
        await check(hive, clients, run)


async def test_a_hundred_runs_and_one_of_two_thousand_roots_all_end_and_leave_no_consumer(hive):
    hive.start(coordinators=2, workers=2)
    hive.start_worker("w9", agents=AGENTS, slots=32)
    async with hive.clients() as clients:
        names = [
            await clients.submit(misbehaving(f"run-{number}", ("a", "b", "c"), tasks=3))
            for number in range(99)
        ]
        many = tuple(f"root {number}" for number in range(2000))
        names.append(await clients.submit(misbehaving("run-many", many, tasks=2000)))
        for name in names:
            assert (await clients.ended(name, seconds=120)).status == "done"
        events = await clients.events("run-many")
        assert sum(isinstance(event, ev.TaskSettled) for event in events) == 2000
        for name in names:

            async def gone(run: str = name) -> bool:
                return await _has_no_consumer(clients, run)

            await clients.until(gone, seconds=20)


async def _has_no_consumer(clients: Clients, run: str) -> bool:
    try:
        await clients.transport.pending(subjects.DISCOVERIES_STREAM, subjects.discovery_consumer(run))
    except TransportUnavailable:
        return True
    return False
