"""Late binding: however long it goes on, no more is dispatched than is free, and a little."""

import anyio

from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


def test_half_an_hour_of_slow_tasks_never_has_more_than_one_dispatch_waiting():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(7.0), slots=4)
            run = await hive.submit(run_spec(tasks=1_200))
            waiting: list[int] = []
            for _ in range(180):
                await anyio.sleep(10)
                rows = await hive.task_rows(run)
                waiting.append(sum(row.status == "dispatched" for row in rows.values()))
            assert max(waiting) <= 1
            done = sum(row.status == "done" for row in (await hive.task_rows(run)).values())
            assert done > 0.9 * 4 * 1800 / 7

    run_virtually(main)


def test_a_new_run_has_its_share_of_the_slots_as_soon_as_it_is_led():
    """Not from the next regular split on: until then its tasks would go out one after another."""

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(7.0), slots=40)
            await anyio.sleep(30)
            run = await hive.submit(run_spec(tasks=40))
            while not await hive.task_rows(run):
                await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            assert len(await hive.task_rows(run)) == 40

    run_virtually(main)
