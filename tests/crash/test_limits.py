"""Limits of models and agents on real processes: a model's server counts; leader and worker are killed."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from blackboard.spec import AgentSpec, RunSpec
from coordinator.quotas import QuotaRecord
from protocol.messages import FollowUp
from tests.crash.hive import FAST, Clients, Hive, check
from tests.support.model_server import ModelServer, Reply, fields, running
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
AGENTS = "tests.crash.agents_asking"
CALL_SECONDS = 0.4
AT_ONCE = 4
TASKS_AT_ONCE = 2
PER_MINUTE = 180
LIMITS = {
    "TESTS_API_KEY": "key-of-the-tests",
    "SWARMBOARD_LIMITS_PERMIT_SECONDS": "2",
    "SWARMBOARD_LIMITS_AGENTS": json.dumps({"pondering": {"concurrent": TASKS_AT_ONCE}}),
    "SWARMBOARD_LIMITS_MODELS": json.dumps(
        {"openai/counted": {"concurrent": AT_ONCE}, "openai/paced": {"per_minute": PER_MINUTE}}
    ),
}


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path, {**FAST, **LIMITS})
    yield hive
    hive.stop_all()


def spec(run: str, model: str, url: str, tasks: int, agent: str = "asking") -> RunSpec:
    return RunSpec(
        run=run,
        goal="ask",
        agents=(AgentSpec(name=agent, publishes=("told",)),),
        roots=tuple(FollowUp(agent=agent, topic=f"{run} thing {n}", max_visits=1) for n in range(tasks)),
        max_attempts=20,
        settings={"model": f"openai/{model}", "api_base": url, "api_key_env": "TESTS_API_KEY"},
    )


def answer(prompt: str) -> Reply:
    return Reply(fields(answer="yes"), hang_seconds=CALL_SECONDS)


def came(server: ModelServer, model: str) -> list[float]:
    return [at for at, of in server.times if of == model]


async def nothing_in_use(clients: Clients) -> bool:
    quotas = (await QuotaRecord(clients.store).read()).quotas
    return not any(one.in_use or one.waiting for one in quotas)


async def test_limits_hold_and_are_used_while_a_leader_and_a_worker_are_killed(hive: Hive):
    """Runs `a` and `b` share the calls of one model, `c` those of another that has a rate, and of `d` and `e`
    the tasks are limited.
    """
    with running(ModelServer(answer)) as server:
        for name in ("c1", "c2"):
            hive.start_coordinator(name)
        for name in ("w1", "w2", "w3"):
            hive.start_worker(name, slots=8, agents=AGENTS)
        async with hive.clients() as clients:
            for run, model, tasks, agent in (
                ("a", "counted", 30, "asking"),
                ("b", "counted", 30, "asking"),
                ("c", "paced", 15, "asking"),
                ("d", "plain", 6, "pondering"),
                ("e", "plain", 6, "pondering"),
            ):
                await clients.submit(spec(run, model, server.url, tasks, agent))
            await clients.until(lambda: _truth(len(came(server, "counted")) >= 8))
            began, before = time.monotonic(), len(came(server, "counted"))
            asked = len(server.requests)
            await anyio.sleep(2)
            made = len(came(server, "counted")) - before
            seconds = time.monotonic() - began
            shares = Counter(_run_of(one) for one in server.requests[asked:] if one["model"] == "counted")
            used = made * CALL_SECONDS / (AT_ONCE * seconds)
            hive.kill(hive.leads("d") or "c1")
            await anyio.sleep(1)
            hive.kill("w1")
            for run in "abcde":
                assert (await clients.ended(run)).status == "done"
                await check(hive, clients, run)
            await clients.until(lambda: nothing_in_use(clients))
        assert server.most["counted"] == AT_ONCE
        assert server.most["plain"] == TASKS_AT_ONCE
        assert used > 0.2, f"{used:.0%} used: less than a loaded machine's; virtual time has the exact share"
        assert abs(shares["a"] - shares["b"]) <= AT_ONCE, shares
        _check_rate(came(server, "paced"))


def _run_of(request: dict) -> str:
    return request["messages"][-1]["content"].split(" thing ")[0].split()[-1]


def _check_rate(times: list[float]) -> None:
    """A permit's way to the call may take some time, and takes less for the next."""
    spacing, burst, jitter_seconds = 60 / PER_MINUTE, 3, 0.5
    for at, first in enumerate(times):
        for number, last in enumerate(times[at:], 1):
            assert number <= (last - first + jitter_seconds) / spacing + burst
    assert times[-1] - times[0] > (len(times) - burst) * spacing - jitter_seconds


async def _truth(value: bool) -> bool:
    return value
