"""A leader that reads the rows for long: because there are many, or the store is slow."""

import anyio
import pytest

from blackboard.memory import MemoryStore
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker

LEASE_SECONDS = 10


class SlowToLoad:
    """The store as a coordinator sees it to whom reading the rows takes its time."""

    def __init__(self, store: MemoryStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def load(self, run: str):
        loaded = await self._store.load(run)
        await anyio.sleep(self._seconds)
        return loaded


async def _taken_over(seconds: float) -> None:
    async with swarm() as hive:
        hive.start_coordinator("c1")
        hive.start_worker("w1", thinker(60.0))
        run = await hive.submit(run_spec(tasks=2))
        await anyio.sleep(5)
        hive.kill("c1")
        hive.start_coordinator("c2", store=SlowToLoad(hive.store, seconds))
        assert (await hive.ended(run)).tasks == {"done": 2}
        await hive.check(run)


@pytest.mark.parametrize("seconds", [LEASE_SECONDS / 2, 2 * LEASE_SECONDS])
def test_a_run_that_is_long_to_load_is_taken_over_while_its_workers_beat(seconds: float) -> None:
    run_virtually(lambda: _taken_over(seconds))


def test_two_coordinators_for_which_loading_takes_longer_than_the_lease_agree_on_a_leader() -> None:
    async def main() -> None:
        async with swarm() as hive:
            for name in ("c1", "c2"):
                hive.start_coordinator(name, store=SlowToLoad(hive.store, 1.7 * LEASE_SECONDS))
            hive.start_worker("w1", thinker(1.0))
            run = await hive.submit(run_spec())
            assert (await hive.ended(run)).tasks == {"done": 5}
            await hive.check(run)

    run_virtually(main)
