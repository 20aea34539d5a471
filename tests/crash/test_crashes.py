"""Kill, freeze and cut off real processes at seeded moments; then nothing may be lost or doubled."""

import random
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import anyio
import pytest

from blackboard import events as ev
from tests.crash.hive import Clients, Hive, check, crash_spec
from tests.support.proxy import Proxy
from tests.support.servers import NatsServer, RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio
SEEDS = (1, 2)


@pytest.fixture
def hive(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Hive]:
    hive = Hive(own_nats, own_redis, tmp_path)
    yield hive
    hive.stop_all()


async def run_to_the_end(hive: Hive, clients: Clients, run: str) -> None:
    totals = await clients.ended(run)
    assert totals.status == "done", totals
    state = await check(hive, clients, run)
    assert totals.tasks == {"done": len(state.tasks)}


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_worker_killed_in_the_middle_of_tasks_costs_only_their_repetition(hive, seed):
    chance = random.Random(seed)
    hive.start()
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, chance.randrange(3, 20))
        hive.kill(f"w{chance.randrange(1, 4)}")
        await run_to_the_end(hive, clients, run)
        lost = [event for event in await clients.events(run) if isinstance(event, ev.TaskRequeued)]
        assert {event.cause for event in lost} <= {"silent"}


async def test_the_leader_killed_under_load_is_replaced_within_its_lease_and_dispatches_nothing_twice(hive):
    hive.start()
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=120, longest_seconds=0.2))
        await clients.settled(run, 20)
        leader = (await clients.totals(run)).leader
        victim = next(name for name in ("c1", "c2") if f"coordinator {leader} " in hive.log(name))
        with anyio.fail_after(7):
            hive.kill(victim)
            await clients.until(lambda: _takeovers(clients, run, 2), seconds=7)
        await run_to_the_end(hive, clients, run)


async def _takeovers(clients: Clients, run: str, count: int) -> bool:
    return (await clients.totals(run)).takeovers >= count


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("server", ["nats", "redis"])
async def test_a_killed_server_comes_back_and_nothing_acknowledged_is_lost(hive, server, seed):
    chance = random.Random(seed)
    hive.start()
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, chance.randrange(3, 20))
        victim = getattr(hive, server)
        victim.kill()
        await anyio.sleep(chance.uniform(0, 2.5))
        await anyio.to_thread.run_sync(victim.start)
        await run_to_the_end(hive, clients, run)


@pytest.mark.parametrize("seed", SEEDS)
async def test_everything_killed_at_once_goes_on_where_it_was(hive, seed):
    chance = random.Random(seed)
    hive.start()
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1"))
        await clients.settled(run, chance.randrange(3, 25))
        finished = {task.id: task for task in await clients.tasks(run) if task.status == "done"}
        hive.kill_everything()
        await anyio.to_thread.run_sync(hive.redis.start)
        await anyio.to_thread.run_sync(hive.nats.start)
        hive.start()
        await run_to_the_end(hive, clients, run)
        after = {task.id: task for task in await clients.tasks(run)}
        assert all(after[identity] == task for identity, task in finished.items())


async def test_a_frozen_workers_late_results_are_refused_and_recorded(hive):
    hive.start(workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=30, longest_seconds=2.0))

        async def of_w1() -> set[str]:
            tasks = await clients.tasks(run)
            return {task.id for task in tasks if task.worker == "w1" and task.status == "running"}

        async def busy() -> bool:
            return bool(await of_w1())

        async def idle() -> bool:
            return not await of_w1()

        await clients.settled(run, 3)
        await clients.until(busy)
        hive.signal("w1", signal.SIGSTOP)
        held = await of_w1()
        await clients.until(idle, seconds=10)
        hive.signal("w1", signal.SIGCONT)
        await run_to_the_end(hive, clients, run)
        events = await clients.events(run)
        requeued = {
            event.task for event in events if isinstance(event, ev.TaskRequeued) and event.cause == "silent"
        }
        assert requeued
        last_words = {
            event.task for event in events if isinstance(event, ev.TaskSettled) and event.worker == "w1"
        }
        assert held <= requeued | last_words, "what had left the worker before it froze counts"


async def test_a_lost_reply_of_an_append_is_asked_for_again_and_counts_once(hive):
    async with Proxy.to(hive.redis.port) as proxy:
        hive.start_coordinator("c1", redis_url=proxy.url(hive.redis.url))
        for name in ("w1", "w2"):
            hive.start_worker(name)
        async with hive.clients() as clients:
            run = await clients.submit(crash_spec("run-1"))
            for done in (3, 8, 14, 20):
                await clients.settled(run, done)
                proxy.drop_replies(2, after=random.Random(done).randrange(3))
            await run_to_the_end(hive, clients, run)
            assert proxy.dropped >= 4


async def test_paid_calls_that_were_recorded_are_never_made_again(hive):
    hive.start(workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=16, longest_seconds=1.5))

        async def half_done() -> bool:
            tasks = await clients.tasks(run)
            return any(task.worker == "w1" and task.status == "running" and task.steps == 1 for task in tasks)

        await clients.until(half_done)
        hive.kill("w1")
        hive.start_worker("w3")
        await run_to_the_end(hive, clients, run)
        runs, paid = hive.executions("run"), hive.executions("paid")
        repeated = {call for call, count in paid.items() if count > 1}
        assert any(count > 1 for count in runs.values()), "the kill hit no running task"
        steps = sum(task.steps for task in await clients.tasks(run))
        digs = [task for task in await clients.tasks(run) if task.agent == "dig"]
        assert steps == 2 * len(digs)
        assert len(repeated) <= 4, "only calls under way at the kill may be made again"


async def test_drained_workers_exit_0_and_give_back_what_they_did_not_finish(hive):
    hive.environ = {**hive.environ, "SWARMBOARD_WORKER_DRAIN_SECONDS": "0.5"}
    hive.start(workers=2)
    async with hive.clients() as clients:
        run = await clients.submit(crash_spec("run-1", tasks=20, longest_seconds=3.0))
        await clients.settled(run, 3)
        assert await anyio.to_thread.run_sync(hive.stop, "w1") == 0
        await run_to_the_end(hive, clients, run)
        causes = {event.cause for event in await clients.events(run) if isinstance(event, ev.TaskRequeued)}
        assert causes <= {"released"}


async def test_every_task_message_and_every_discovery_delivered_twice_counts_once(hive):
    hive.start(workers=2)
    async with hive.clients() as clients, anyio.create_task_group() as tasks:
        numbers, seen = count(), set()

        def again(message) -> None:
            if message.data not in seen:
                seen.add(message.data)
                tasks.start_soon(publish, message.subject, message.data)

        async def publish(subject: str, data: bytes) -> None:
            await clients.transport.publish(subject, data, message_id=f"again-{next(numbers)}")

        async with (
            clients.transport.subscribe("swarm.tasks.*", again),
            clients.transport.subscribe("swarm.discoveries.*.*", again),
        ):
            run = await clients.submit(crash_spec("run-1", longest_seconds=0.1))
            await run_to_the_end(hive, clients, run)
        assert len(seen) > 80
        assert max(hive.executions("run").values()) == 1
        tasks.cancel_scope.cancel()


async def test_three_runs_over_two_coordinators_share_the_slots_fairly_and_never_overdispatch(hive):
    slots, runs = 6, ("run-1", "run-2", "run-3")
    hive.start(coordinators=2, workers=0)
    for name in ("w1", "w2"):
        hive.start_worker(name, slots=slots // 2)
    await wait_until(lambda: all("serves" in hive.log(name) for name in ("c1", "c2")), 60)
    async with hive.clients() as clients:
        for run in runs:
            await clients.submit(crash_spec(run, tasks=60, longest_seconds=0.6))
        await clients.settled("run-3", 3)
        shares: dict[str, list[int]] = {run: [] for run in runs}
        with anyio.move_on_after(8):
            while True:
                total = 0
                for run in runs:
                    tasks = await clients.tasks(run)
                    under_way = sum(task.status in ("dispatched", "running") for task in tasks)
                    shares[run].append(sum(task.status == "running" for task in tasks))
                    total += under_way
                assert total <= slots + 2 * len(runs), shares
                await anyio.sleep(0.1)
        means = [sum(share) / len(share) for share in shares.values()]
        assert min(means) >= 0.6 * slots / len(runs), means
        assert max(means) <= 1.6 * slots / len(runs), means
        leaders = {(await clients.totals(run)).leader for run in runs}
        assert len(leaders) == 2
        for run in runs:
            await run_to_the_end(hive, clients, run)


async def test_at_the_default_settings_a_silent_worker_loses_its_task_after_90_seconds(
    own_nats, own_redis, tmp_path
):
    hive = Hive(own_nats, own_redis, tmp_path, environ={})
    try:
        hive.start_coordinator("c1")
        hive.start_worker("w1", slots=1)
        async with hive.clients() as clients:
            run = await clients.submit(crash_spec("run-1", tasks=1, longest_seconds=20.0))

            async def running() -> bool:
                return any(task.status == "running" for task in await clients.tasks(run))

            await clients.until(running)
            hive.kill("w1")
            killed = anyio.current_time()
            hive.start_worker("w2", slots=1)

            async def taken_back() -> bool:
                return any(isinstance(event, ev.TaskRequeued) for event in await clients.events(run))

            await clients.until(taken_back, seconds=100)
            assert 79 <= anyio.current_time() - killed <= 96
            await run_to_the_end(hive, clients, run)
    finally:
        hive.stop_all()
