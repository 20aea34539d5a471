"""Parts of a swarm that cannot see one server, or the others: who leads, and nothing is lost or doubled."""

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from blackboard import events as ev
from protocol import subjects
from protocol.transport.contract import Message
from tests.crash.hive import FAST, Clients, Hive, check, crash_spec
from tests.support.proxy import Proxy
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
LEASE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_LEASE_SECONDS"])
SILENCE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_SILENCE_SECONDS"])


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path)
    yield hive
    hive.stop_all()


async def leader_of(hive: Hive, clients: Clients, run: str) -> str:
    """Which of the processes leads."""
    leader = (await clients.totals(run)).leader
    return next(name for name in ("c1", "c2") if f"coordinator {leader} " in hive.log(name))


async def led_by(hive: Hive, clients: Clients, run: str, name: str, seconds: float) -> None:
    async def so() -> bool:
        return await leader_of(hive, clients, run) == name

    await clients.until(so, seconds=seconds)


async def ends_well(hive: Hive, clients: Clients, run: str, status: str = "done") -> None:
    assert (await clients.ended(run)).status == status
    await check(hive, clients, run)
    assert {"c1", "c2"} <= {*hive.running()}


async def test_a_leader_without_the_store_is_replaced_and_does_no_harm_when_it_sees_it_again(hive):
    async with Proxy.to(hive.redis.port) as proxy, hive.clients() as clients:
        hive.start_coordinator("c1", redis_url=proxy.url(hive.redis.url))
        for name in ("w1", "w2"):
            hive.start_worker(name)
        run = await clients.submit(crash_spec("run-1", tasks=80, longest_seconds=0.6))
        await clients.settled(run, 5)
        hive.start_coordinator("c2")
        await proxy.cut()
        await led_by(hive, clients, run, "c2", LEASE_SECONDS + 5)
        await anyio.sleep(LEASE_SECONDS)
        proxy.mend()
        await ends_well(hive, clients, run)
        assert (await clients.totals(run)).takeovers == 2


async def test_a_leader_without_the_bus_gives_up_its_lead_and_leads_again_when_it_must(hive):
    async with Proxy.to(hive.nats.port) as proxy, hive.clients() as clients:
        hive.start_coordinator("c1", nats_url=proxy.url(hive.nats.url))
        for name in ("w1", "w2"):
            hive.start_worker(name)
        run = await clients.submit(crash_spec("run-1", tasks=60, longest_seconds=0.6))
        await clients.settled(run, 5)
        hive.start_coordinator("c2")
        await proxy.cut()
        await led_by(hive, clients, run, "c2", 20)
        proxy.mend()
        await clients.settled(run, 20)
        await ends_well(hive, clients, run)
        hive.kill("c2")
        second = await clients.submit(crash_spec("run-2", tasks=5))
        assert (await clients.ended(second)).status == "done"


async def test_a_worker_frozen_between_its_grant_and_its_first_step_costs_one_attempt(hive):
    hive.start(coordinators=2, workers=1)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=20, longest_seconds=0.4))
        await clients.settled(run, 2)
        asked = anyio.Event()

        def freeze(_claim: Message) -> None:
            """The request is out: the grant finds nobody who could read it."""
            hive.signal("w1", signal.SIGSTOP)
            asked.set()

        async with clients.transport.subscribe(subjects.board(run, "w1", "claim"), freeze):
            await asked.wait()

        async def granted() -> list[str]:
            started = hive.executions("run")
            tasks = await clients.tasks(run)
            return [task.id for task in tasks if task.status == "running" and task.id not in started]

        held = await clients.until(granted, seconds=5)
        hive.start_worker("w2")

        async def moved() -> bool:
            tasks = {task.id: task for task in await clients.tasks(run)}
            return all(tasks[task].worker != "w1" for task in held)

        await clients.until(moved, seconds=SILENCE_SECONDS + 7)
        hive.signal("w1", signal.SIGCONT)
        await ends_well(hive, clients, run)
        lost = [event for event in await clients.events(run) if isinstance(event, ev.TaskRequeued)]
        assert {*held} <= {event.task for event in lost if event.cause == "silent"}


async def test_a_run_cancelled_while_nobody_leads_it_is_cancelled_by_whoever_leads_next(hive):
    hive.start()
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=400, longest_seconds=2.0))
        await clients.settled(run, 5)
        victim = await leader_of(hive, clients, run)
        hive.kill(victim)
        said = await cancel(hive, run)
        ended = {"run": run, "already_ended": False, "status": "cancelled", "reason": "enough"}
        assert ended.items() <= said.items()
        hive.start_coordinator(victim)
        await ends_well(hive, clients, run, "cancelled")
        assert (await clients.totals(run)).takeovers == 2


async def cancel(hive: Hive, run: str) -> dict[str, object]:
    """What the command says."""
    asked = partial(hive.ask, "--json", "cancel", run, "--reason", "enough")
    return json.loads(await anyio.to_thread.run_sync(asked))
