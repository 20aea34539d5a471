"""Waiting for the disk, and knowing where that is in vain."""

from pathlib import Path

import pytest

from blackboard import redis_server as server_facts
from blackboard.redis import RedisStore
from blackboard.redis_link import RedisSettings
from blackboard.store import BlackboardStore
from protocol.errors import StoreUnavailable
from tests.store.building import add, create, write
from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio


async def test_what_was_appended_is_on_disk_when_the_wait_for_it_ends(store: BlackboardStore):
    head = await create(store)
    await add(store, head, write(1))
    assert await store.can_sync()
    await store.sync()


async def test_a_server_that_syncs_nothing_says_so(tmp_path: Path):
    server = RedisServer(tmp_path, "appendonly no").start()
    try:
        async with RedisStore(server.url, RedisSettings(prefix="sync")) as store:
            assert not await store.can_sync()
            with pytest.raises(StoreUnavailable):
                await store.sync()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("version", "appendonly", "durability", "can"),
    [
        ("8.2.3", "yes", "accepted", True),
        ("7.2.0", "yes", "accepted", True),
        ("7.0.15", "yes", "accepted", False),
        ("8.2.3", "no", "accepted", False),
        ("unknown", "yes", "accepted", False),
    ],
)
def test_it_takes_a_recent_server_with_an_append_only_file(version, appendonly, durability, can):
    facts = {"version": version, "appendonly": appendonly, "durability": durability}
    assert server_facts.can_sync(facts) == can


async def test_a_server_that_does_not_answer_has_not_synced(tmp_path: Path):
    server = RedisServer(tmp_path).start()
    try:
        async with RedisStore(server.url, RedisSettings(prefix="sync", timeout_seconds=0.5)) as store:
            server.pause()
            with pytest.raises(StoreUnavailable):
                await store.sync()
            server.resume()
    finally:
        server.stop()
