"""The lists of runs, and the end of a run."""

import anyio
import pytest

from blackboard.store import Batch, BlackboardStore
from tests.store.building import RUN, TTL, add, ask, body_ref, create, events, put, task_row, write

pytestmark = pytest.mark.anyio


async def test_runs_are_listed_newest_first_and_active_until_finished(store: BlackboardStore):
    for run in ("r1", "r2", "r3"):
        await create(store, run, token=f"t-{run}")
        await anyio.sleep(0.002)
    await store.finish("r2", await store.head("r2"), keep_seconds=60)
    assert await store.runs(active=True) == ["r3", "r1"]
    assert await store.runs(active=False) == ["r3", "r2", "r1"]


async def test_a_creation_repeated_after_the_end_does_not_make_the_run_active_again(store: BlackboardStore):
    batch = Batch(RUN, "", 0, events("run_created"))
    await store.append(batch, ttl_seconds=TTL)
    await store.finish(RUN, await store.head(RUN), keep_seconds=60)
    assert await store.append(batch, ttl_seconds=TTL) == 1
    assert await store.runs(active=True) == []


async def test_leading_or_asking_about_a_run_does_not_list_it(store: BlackboardStore):
    await store.acquire("ghost", "t", ttl_seconds=TTL)
    await store.head("ghost")
    await store.finish("ghost", await store.head("ghost"), keep_seconds=60)
    assert await store.runs(active=False) == []


async def test_a_finished_run_stays_readable_and_then_goes_whole(store: BlackboardStore):
    head = await create(store)
    digest = await put(store, b"body")
    await add(store, head, write(1, tags=["t"], body=body_ref(b"body")))
    await store.finish(RUN, await store.head(RUN), keep_seconds=0.3)
    assert await ask(store, tag="t") == [1]
    assert (await store.get(RUN, digest, offset=0, limit=9))[0] == b"body"
    with anyio.fail_after(5):
        while True:
            if await store.head(RUN) == 0:
                break
            await anyio.sleep(0.02)
    assert await store.runs(active=False) == []
    assert (await store.load(RUN)).rows["run"] == {}
    assert await store.log(RUN, after=0) == []


async def test_finishing_twice_does_not_prolong(store: BlackboardStore):
    await create(store)
    await store.finish(RUN, await store.head(RUN), keep_seconds=0.2)
    await store.finish(RUN, await store.head(RUN), keep_seconds=60)
    with anyio.fail_after(5):
        while True:
            if await store.head(RUN) == 0:
                break
            await anyio.sleep(0.02)


async def test_what_is_appended_after_the_end_goes_with_the_rest(store: BlackboardStore):
    """The check for orphaned keys sees to it in Redis."""
    head = await create(store)
    await put(store, b"late")
    await store.finish(RUN, await store.head(RUN), keep_seconds=60)
    late = write(1, tags=["new"], body=body_ref(b"late"))
    batch = Batch(RUN, "leader-1", head, events("late"), [task_row("t")], [late])
    assert await store.append(batch, ttl_seconds=TTL) == head + 1
    assert await store.runs(active=True) == []


async def test_a_reopened_run_is_active_and_nothing_of_it_expires(store: BlackboardStore):
    head = await create(store)
    digest = await put(store, b"body")
    head = await add(store, head, write(1, tags=["t"], body=body_ref(b"body")))
    await store.finish(RUN, await store.head(RUN), keep_seconds=0.3)
    await store.reopen(RUN)
    assert await store.runs(active=True) == [RUN]
    await anyio.sleep(0.5)
    assert await store.head(RUN) == head
    assert await ask(store, tag="t") == [1]
    assert (await store.get(RUN, digest, offset=0, limit=9))[0] == b"body"
    await store.finish(RUN, await store.head(RUN), keep_seconds=60)
    assert await store.runs(active=True) == []


async def test_a_run_that_does_not_exist_is_not_reopened(store: BlackboardStore):
    await store.reopen("ghost")
    assert await store.runs(active=True) == []


async def test_a_run_that_came_back_without_its_end_is_not_finished(store: BlackboardStore):
    head = await create(store)
    assert not await store.finish(RUN, head + 1, keep_seconds=0.001)
    assert await store.runs(active=True) == [RUN]
    await anyio.sleep(0.1)
    assert await store.head(RUN) == head
