"""A provider fails under real workers: they leave it alone, lose no attempt, and go on when it is back."""

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from blackboard.spec import AgentSpec, RunSpec
from coordinator.breakers import BreakerRecord
from protocol.messages import FollowUp
from protocol.providers import Breaker
from tests.crash.hive import FAST, Clients, Hive, check
from tests.support.model_server import ModelServer, Reply, fields, running
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
AGENTS = "tests.crash.agents_asking"
SLOTS = 8
TASKS = 16
RULES = {
    "TESTS_API_KEY": "key-of-the-tests",
    "SWARMBOARD_BREAKER_FAILURES": "3",
    "SWARMBOARD_BREAKER_OPEN_SECONDS": "2",
    "SWARMBOARD_BREAKER_PROBE_SECONDS": "5",
}


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path, {**FAST, **RULES})
    yield hive
    hive.stop_all()


def start(hive: Hive) -> None:
    for name in ("c1", "c2"):
        hive.start_coordinator(name)
    for name in ("w1", "w2"):
        hive.start_worker(name, slots=SLOTS // 2, agents=AGENTS)


def spec(run: str, url: str, **changes: object) -> RunSpec:
    return RunSpec(
        run=run,
        goal="ask",
        agents=(AgentSpec(name="asking", publishes=("told",)),),
        roots=tuple(FollowUp(agent="asking", topic=f"thing {n}", max_visits=1) for n in range(TASKS)),
        settings={
            "model": "openai/scripted",
            "api_base": url,
            "api_key_env": "TESTS_API_KEY",
            "model_timeout_seconds": 1,
            **changes,
        },
    )


def well(_prompt: str) -> Reply:
    return Reply(fields(answer="yes"))


async def breaker(clients: Clients) -> Breaker | None:
    found = (await BreakerRecord(clients.store).read()).breakers
    return found[0] if found else None


async def status(clients: Clients) -> str:
    found = await breaker(clients)
    return found.status if found else ""


async def until_open(clients: Clients) -> Breaker:
    async def open_() -> Breaker | None:
        found = await breaker(clients)
        return found if found and found.status == "open" else None

    return await clients.until(open_)


async def quiet_requests(server: ModelServer, seconds: float) -> int:
    """Requests that come within so long, once those that were under way have come."""
    await anyio.sleep(0.3)
    before = len(server.requests)
    await anyio.sleep(seconds)
    return len(server.requests) - before


async def test_a_plea_for_patience_stops_all_workers_until_then(hive: Hive):
    limited: list[float] = []

    def patience(prompt: str) -> Reply:
        if not limited or time.monotonic() < limited[0]:
            limited.append(time.monotonic() + 4)
            return Reply("slow down", 429, {"retry-after": "4"})
        return well(prompt)

    with running(ModelServer(patience)) as server:
        start(hive)
        async with hive.clients() as clients:
            await clients.submit(spec("limited", server.url))
            await until_open(clients)
            assert await quiet_requests(server, 2.5) == 0
            assert len(server.requests) <= SLOTS
            assert (await clients.ended("limited")).status == "done"
            assert {task.tries for task in await clients.tasks("limited")} == {1}
            assert len(server.requests) <= SLOTS + TASKS + 1
            assert await status(clients) == "closed"
            await check(hive, clients, "limited")


@pytest.mark.parametrize(
    "failing",
    [Reply(status=500), Reply(drop=True), Reply(hang_seconds=3)],
    ids=["error", "drop", "hang"],
)
async def test_a_failing_provider_is_probed_by_one_call_at_a_time_until_it_is_back(
    hive: Hive, failing: Reply
):
    with running(ModelServer(lambda _: failing)) as server:
        start(hive)
        async with hive.clients() as clients:
            await clients.submit(spec("failing", server.url))
            await until_open(clients)
            assert await quiet_requests(server, 5.0) <= 2
            assert len(server.requests) <= 2 * SLOTS + 2
            server.otherwise = well
            assert (await clients.ended("failing")).status == "done"
            tasks = await clients.tasks("failing")
            used = sum(task.tries - 1 for task in tasks)
            assert used <= 2, "only the failures before the one that opened it use up attempts"
            await check(hive, clients, "failing")


async def test_a_breaker_stays_open_when_leader_and_worker_and_store_die(hive: Hive):
    with running(ModelServer(lambda _: Reply("no", 429, {"retry-after": "9"}))) as server:
        start(hive)
        async with hive.clients() as clients:
            await clients.submit(spec("killed", server.url))
            opened = await until_open(clients)
        hive.kill_everything()
        hive.nats.start()
        hive.redis.start()
        before = len(server.requests)
        server.otherwise = well
        start(hive)
        async with hive.clients() as clients:
            found = await breaker(clients)
            assert found is not None
            assert found.status == "open"
            assert (
                0 <= found.until_ms - opened.until_ms < 1_000
            )  # calls that were under way have spoken since
            while time.time() * 1000 < found.until_ms - 300:
                assert len(server.requests) == before
                await anyio.sleep(0.1)
            assert (await clients.ended("killed")).status == "done"
            assert sum(task.tries - 1 for task in await clients.tasks("killed")) <= SLOTS


async def test_a_breaker_stays_open_when_its_leader_dies_alone_and_then_a_worker_alone(hive: Hive):
    with running(ModelServer(lambda _: Reply("no", 429, {"retry-after": "8"}))) as server:
        start(hive)
        async with hive.clients() as clients:
            await clients.submit(spec("killed", server.url))
            opened = await until_open(clients)
            assert await quiet_requests(server, 0.5) == 0
            before = len(server.requests)
            server.otherwise = well
            first = hive.leads("killed")
            hive.kill(first)
            await clients.until(lambda: _led_by_another(hive, first))
            hive.kill("w1")
            assert await status(clients) == "open"
            while time.time() * 1000 < opened.until_ms - 300:
                assert len(server.requests) == before
                await anyio.sleep(0.1)
            assert (await clients.ended("killed")).status == "done"
            tasks = await clients.tasks("killed")
            assert {task.tries for task in tasks} == {1}, "nothing was under way, so no attempt is used up"
            assert len(server.requests) <= before + TASKS + 1
            assert await status(clients) == "closed"
            await check(hive, clients, "killed")


async def _led_by_another(hive: Hive, first: str) -> bool:
    return hive.leads("killed") not in {"", first}


async def test_what_the_user_did_wrong_opens_nothing(hive: Hive):
    with running(ModelServer(lambda _: Reply("bad key", 401))) as server:
        start(hive)
        async with hive.clients() as clients:
            await clients.submit(spec("wrong", server.url))
            assert (await clients.ended("wrong")).status == "failed"
            assert await status(clients) == ""
            assert len(server.requests) == TASKS
