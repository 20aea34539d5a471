"""Leadership: one at a time, by a lease for liveness and a token for safety."""

import anyio
import pytest

from blackboard.store import Batch, BlackboardStore
from protocol.errors import StaleLeader
from tests.store.building import RUN, TTL, contents, create, events

pytestmark = pytest.mark.anyio


async def wait_until_free(store: BlackboardStore) -> None:
    with anyio.fail_after(5):
        while True:
            if await store.leader(RUN) is None:
                return
            await anyio.sleep(0.01)


async def test_one_leader_at_a_time(store: BlackboardStore):
    assert await store.acquire(RUN, "one", ttl_seconds=TTL)
    assert not await store.acquire(RUN, "two", ttl_seconds=TTL)
    assert await store.leader(RUN) == "one"


async def test_acquiring_again_under_the_same_token_succeeds_and_renews(store: BlackboardStore):
    assert await store.acquire(RUN, "one", ttl_seconds=0.1)
    assert await store.acquire(RUN, "one", ttl_seconds=TTL)
    await anyio.sleep(0.15)
    assert await store.leader(RUN) == "one"


async def test_a_released_lead_is_free_at_once(store: BlackboardStore):
    await store.acquire(RUN, "one", ttl_seconds=TTL)
    await store.release(RUN, "one")
    assert await store.leader(RUN) is None
    assert await store.acquire(RUN, "two", ttl_seconds=TTL)


async def test_nobody_releases_the_lead_of_another(store: BlackboardStore):
    await store.acquire(RUN, "one", ttl_seconds=TTL)
    await store.release(RUN, "two")
    assert await store.leader(RUN) == "one"


async def test_a_paused_leader_whose_lease_went_to_another_writes_nothing(store: BlackboardStore):
    head = await create(store)
    await store.append(Batch(RUN, "leader-1", head), ttl_seconds=0.05)
    await wait_until_free(store)
    assert await store.acquire(RUN, "leader-2", ttl_seconds=TTL)
    before = await contents(store)
    with pytest.raises(StaleLeader):
        await store.append(Batch(RUN, "leader-1", head, events("late")), ttl_seconds=TTL)
    assert await contents(store) == before
    assert await store.append(Batch(RUN, "leader-2", head, events("new")), ttl_seconds=TTL) == head + 1


async def test_an_expired_lease_is_not_revived_by_its_old_holder(store: BlackboardStore):
    head = await create(store)
    await store.append(Batch(RUN, "leader-1", head), ttl_seconds=0.05)
    await wait_until_free(store)
    with pytest.raises(StaleLeader):
        await store.append(Batch(RUN, "leader-1", head, events("late")), ttl_seconds=TTL)


async def test_of_many_contenders_exactly_one_wins(store: BlackboardStore):
    won: list[str] = []

    async def contend(token: str) -> None:
        if await store.acquire(RUN, token, ttl_seconds=TTL):
            won.append(token)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(contend, f"token-{number}")
    assert [await store.leader(RUN)] == won
