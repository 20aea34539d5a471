"""A rolling upgrade on real processes: what waits stays with the code that began it, and is paid for once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blackboard.spec import AgentSpec, RunSpec
from coordinator.commands.tasks import listed_stranded
from coordinator.operating import Operator
from coordinator.settings import Settings
from protocol.messages import AnswerRequest, FollowUp
from tests.crash.hive import Clients, Hive, check
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
ORDERS = 3
CODE = """
from agents.agent import Context, Discovery, agent
from tests.crash.agents_for_crashes import note


@agent("order")
async def order(context: Context) -> Discovery:
    async def price() -> str:
        note("paid", context)
        return "12"

    async def ship(key: str) -> str:
        note("shipped", context)
        return "shipped"

    await context.step("price", context.topic, price)
    await context.wait_signal("go")
    await context.effect("ship", context.topic, ship, kind="keyed")
    return Discovery(reward=1.0)
"""
VERSIONS = {
    "v1": CODE,
    "v2": CODE.replace('context.step("price"', 'context.step("quote"'),
    "v3": f"{CODE}\n# only worded otherwise",
}


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path)
    for version, code in VERSIONS.items():
        (tmp_path / version).mkdir()
        (tmp_path / version / "shop.py").write_text(code)
    yield hive
    hive.stop_all()


def spec(run: str) -> RunSpec:
    return RunSpec(
        run=run,
        goal="order",
        agents=(AgentSpec(name="order", trigger="artifacts"),),
        roots=tuple(FollowUp(agent="order", topic=f"thing {n}", max_visits=1) for n in range(ORDERS)),
    )


async def all_are(clients: Clients, run: str, status: str) -> None:
    async def so() -> bool:
        tasks = await clients.tasks(run)
        return len(tasks) == ORDERS and {task.status for task in tasks} == {status}

    await clients.until(so)


async def give_the_sign(operator: Operator, run: str) -> None:
    for row in await operator.records.inquiries(run):
        await operator.answer(run, AnswerRequest(inquiry=row.id, answerer="ada", answer="go"))


async def test_what_waits_through_a_rolling_upgrade_goes_on_under_its_own_code_or_is_stranded_until_it_can(
    hive: Hive,
):
    hive.start_coordinator("c1")
    hive.start_worker("old", agents="shop", code=hive.folder / "v1")
    async with hive.clients() as clients:
        operator = Operator(clients.store, clients.transport, Settings())
        run = await clients.submit(spec("run-1"))
        await all_are(clients, run, "waiting")
        hive.start_worker("new", agents="shop", code=hive.folder / "v2")
        assert hive.stop("old") == 0
        await give_the_sign(operator, run)
        await all_are(clients, run, "queued")
        fresh = await clients.submit(spec("run-2"))
        await all_are(clients, fresh, "waiting")
        await give_the_sign(operator, fresh)
        assert (await clients.ended(fresh)).status == "done"
        hive.kill("c1")
        hive.start_coordinator("c2")

        async def gone() -> bool:
            return len(await listed_stranded(operator, run, None, None)) == ORDERS

        await clients.until(gone)
        listed = await listed_stranded(operator, run, "queued", "order")
        (build,) = {task["written_by"] for task in listed}
        assert build.startswith("source-")
        text = hive.ask("tasks", run, "--stranded")
        assert all(f"{task['id']}: {task['stranded']['remedy']}" in text for task in listed)
        assert build in listed[0]["stranded"]["remedy"]
        began = time.monotonic()
        hive.start_worker(
            "compatible", agents="shop", code=hive.folder / "v3", options=("--compatible", build)
        )
        assert (await clients.ended(run)).status == "done"
        assert time.monotonic() - began < 30
        state = await check(hive, clients, run)
        assert {task.worker for task in state.tasks.values()} == {"compatible"}
        assert {task.attempt for task in state.tasks.values()} <= {2, 3}, "once more while a dead worker beat"
        assert {task.build for task in state.tasks.values()} != {build}
        await check(hive, clients, fresh)
        for word in ("paid", "shipped"):
            assert set(hive.executions(word).values()) == {1}
            assert hive.executions(word).total() == 2 * ORDERS
