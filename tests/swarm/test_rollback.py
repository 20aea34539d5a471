"""A store that comes back older than it was: the loss is recorded once, and the work goes on."""

from typing import Any, cast

import anyio
import pytest

from blackboard.store import Batch, BlackboardStore
from protocol.errors import HeadMismatch
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


async def roll_back(hive: Swarm, run: str, seconds: float = 1.0) -> int:
    """Puts the store back by so long; how many events that lost."""
    before = hive.store.snapshot()
    await anyio.sleep(seconds)
    head = await hive.store.head(run)
    hive.store.restore(before)
    return head - await hive.store.head(run)


async def begin(hive: Swarm) -> str:
    for name in ("c1", "c2"):
        hive.start_coordinator(name)
    hive.start_worker("w1", thinker(0.3), slots=4)
    run = await hive.submit(run_spec(tasks=100))
    await anyio.sleep(5)
    return run


@pytest.mark.parametrize("times", [1, 2])
def test_a_rollback_under_a_living_leader_is_recorded_to_the_event(times: int) -> None:
    async def main() -> None:
        async with swarm() as hive:
            run = await begin(hive)
            lost = 0
            for _ in range(times):
                lost = (await hive.totals(run)).lost_events + await roll_back(hive, run)
                await anyio.sleep(3)
                assert (await hive.totals(run)).lost_events == lost, "long before its lease has run out"
            totals = await hive.ended(run)
            assert lost > 0
            assert totals.lost_events == lost
            assert totals.tasks == {"done": 100}
            await hive.check(run)

    run_virtually(main)


def test_a_rollback_while_the_leader_dies_is_recorded_by_its_successor() -> None:
    async def main() -> None:
        async with swarm() as hive:
            run = await begin(hive)
            lost = await roll_back(hive, run, seconds=4)
            hive.kill((await hive.totals(run)).leader)
            totals = await hive.ended(run)
            assert 0 < totals.lost_events <= lost
            await hive.check(run)

    run_virtually(main)


def test_a_takeover_without_a_rollback_records_none() -> None:
    async def main() -> None:
        async with swarm() as hive:
            run = await begin(hive)
            await roll_back(hive, run)
            await anyio.sleep(3)
            recorded = (await hive.totals(run)).lost_events
            hive.kill((await hive.totals(run)).leader)
            assert (await hive.ended(run)).lost_events == recorded

    run_virtually(main)


class RefusingOnce:
    """A store that refuses one append of results, as one that came back older would."""

    def __init__(self, inner: BlackboardStore) -> None:
        self._inner = inner
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(self, batch: Batch, *, ttl_seconds: float) -> int:
        if not self.refused and any(b'"task_settled"' in event for event in batch.events):
            self.refused = len(batch.events)
            raise HeadMismatch(batch.run, batch.head, batch.head - 1)
        return await self._inner.append(batch, ttl_seconds=ttl_seconds)


def test_nothing_leaves_of_what_a_store_has_refused() -> None:
    async def main() -> None:
        async with swarm() as hive:
            store = RefusingOnce(hive.store)
            hive.start_coordinator(store=cast("BlackboardStore", store))
            hive.start_worker("w1", thinker(0.3), slots=4)
            run = await hive.submit(run_spec(tasks=20))
            totals = await hive.ended(run)
            assert store.refused
            assert totals.tasks == {"done": 20}
            await hive.check(run)

    run_virtually(main)
