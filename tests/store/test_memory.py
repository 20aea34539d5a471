"""What the memory store adds for simulations: virtual time, lost replies, a way back in time."""

import pytest

from blackboard.memory import MemoryStore
from blackboard.store import Batch
from protocol.errors import HeadMismatch, NotFound, StoreUnavailable
from tests.store.building import RUN, TTL, contents, create, events, put, task_row, write

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_leases_and_bodies_expire_by_the_clock_that_was_given():
    clock = Clock()
    store = MemoryStore(clock)
    await store.acquire(RUN, "one", ttl_seconds=10)
    digest = await put(store, b"orphan", ttl_seconds=20)
    clock.seconds += 9.9
    assert not await store.acquire(RUN, "two", ttl_seconds=10)
    clock.seconds += 0.1
    assert await store.leader(RUN) is None
    assert await store.acquire(RUN, "two", ttl_seconds=10)
    assert await store.get(RUN, digest, offset=0, limit=9) == (b"orphan", 6)
    clock.seconds += 10
    with pytest.raises(NotFound):
        await store.get(RUN, digest, offset=0, limit=9)


async def test_a_lost_reply_leaves_the_batch_applied_once():
    store = MemoryStore()
    head = await create(store)
    batch = Batch(RUN, "leader-1", head, events("a"), [task_row("t")], [write(1)])
    store.lose_replies(2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.append(batch, ttl_seconds=TTL)
    before = await contents(store)
    assert await store.append(batch, ttl_seconds=TTL) == head + 1
    assert await contents(store) == before


async def test_a_store_that_came_back_older_is_noticed_by_the_next_append():
    store = MemoryStore()
    head = await create(store)
    earlier = store.snapshot()
    before = await contents(store)
    head = await store.append(Batch(RUN, "leader-1", head, events("a"), (), [write(1)]), ttl_seconds=TTL)
    store.restore(earlier)
    assert await contents(store) == before
    with pytest.raises(HeadMismatch):
        await store.append(Batch(RUN, "leader-1", head, events("b")), ttl_seconds=TTL)
    await store.append(Batch(RUN, "leader-1", 1, events("c")), ttl_seconds=TTL)
    store.restore(earlier)
    assert await contents(store) == before
