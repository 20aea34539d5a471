"""Forks and replays of a DSPy agent on real servers: the model's server counts what is asked anew."""

import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from blackboard.state import TaskRow
from coordinator.commands.compare import compared_runs
from coordinator.forking import Forking, Parted
from coordinator.history import Point
from coordinator.overrides import Overrides
from coordinator.records import Records
from tests.crash.hive import FAST, Clients, Hive, check
from tests.crash.reasoning import play
from tests.crash.test_durable import AGENTS, KEY, SLOW_SECONDS, answer, lines, spec
from tests.support.model_server import ModelServer, Reply, running
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
ROUNDS = 10
CALLS = ROUNDS + 2
STEPS_PER_ROUND = 3
"""A model call, an intent, an effect."""


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path, {**FAST, **KEY})
    yield hive
    hive.stop_all()


async def part(clients: Clients, verb, at: Point, run: str, source: str = "run-1", **changes) -> Parted:
    forking = Forking(clients.store, clients.transport, 100)
    return await forking.part(source, verb, at, Overrides.model_validate(changes), run, now_ms=1)


async def the_task(clients: Clients, run: str) -> TaskRow:
    (task,) = await Records(clients.store).tasks(run)
    return task


async def test_a_fork_at_step_k_asks_exactly_what_comes_after_it_and_a_replay_asks_nothing(hive: Hive):
    with running(ModelServer(otherwise=play)) as server:
        hive.start_coordinator()
        hive.start_worker("w1", agents=AGENTS)
        async with hive.clients() as clients:
            run = await clients.submit(spec("run-1", "reason", f"keyed rounds={ROUNDS}", server.url))
            await clients.ended(run, seconds=SLOW_SECONDS)
            assert len(server.requests) == CALLS
            said, keys = await answer(clients, run), lines(hive, "keyed")
            task = await the_task(clients, run)
            for rounds in (0, 4, ROUNDS):
                server.requests.clear()
                point = Point(task.id, STEPS_PER_ROUND * rounds)
                await part(clients, "fork", point, f"fork-{rounds}", model="openai/other")
                await clients.ended(f"fork-{rounds}", seconds=SLOW_SECONDS)
                assert [one["model"] for one in server.requests] == ["other"] * (CALLS - rounds)
                forked = await the_task(clients, f"fork-{rounds}")
                assert forked.shared.model_calls == rounds
                assert await answer(clients, f"fork-{rounds}") == said
                await check(hive, clients, f"fork-{rounds}")
            made = lines(hive, "keyed")
            assert set(made.values()) == {1}
            assert len(made) == len(keys) + ROUNDS + (ROUNDS - 4)
            server.requests.clear()
            await part(clients, "replay", Point(), "again")
            await clients.ended("again")
            assert (server.requests, lines(hive, "keyed")) == ([], made)
            compared = await compared_runs(Records(clients.store), run, "again")
            assert compared.same
            assert compared.second.steps_shared == task.steps
            assert compared.second.usage.model_calls == 0
            assert not (await compared_runs(Records(clients.store), run, "fork-4")).diverged
            assert await the_task(clients, run) == task
            await check(hive, clients, run)


async def test_a_worker_killed_in_a_fork_costs_one_call_and_no_shared_step(hive: Hive):
    deadly_at = 3
    prompts: list[str] = []

    def deadly(prompt: str) -> Reply:
        prompts.append(prompt)
        if len(prompts) == CALLS + deadly_at:
            hive.signal("w1", signal.SIGKILL)
        return play(prompt)

    with running(ModelServer(otherwise=deadly)) as server:
        hive.start_coordinator()
        hive.start_worker("w1", agents=AGENTS)
        async with hive.clients() as clients:
            run = await clients.submit(spec("run-1", "reason", f"keyed rounds={ROUNDS}", server.url))
            await clients.ended(run, seconds=SLOW_SECONDS)
            task = await the_task(clients, run)
            point = Point(task.id, STEPS_PER_ROUND * 5)
            await part(clients, "fork", point, "fork", model="openai/other")
            with anyio.fail_after(SLOW_SECONDS):
                while len(prompts) < CALLS + deadly_at:
                    await anyio.sleep(0.05)
            hive.start_worker("w2", agents=AGENTS)
            await clients.ended("fork", seconds=SLOW_SECONDS)
            assert len(prompts) == CALLS + (CALLS - 5) + 1
            assert await answer(clients, "fork") == await answer(clients, run)
            await check(hive, clients, "fork")
