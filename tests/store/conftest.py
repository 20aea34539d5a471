"""Both stores, and a check that no test leaves a key in Redis that nothing will ever remove."""

import secrets
from collections.abc import AsyncIterator

import pytest

from blackboard.memory import MemoryStore
from blackboard.redis import RedisStore
from blackboard.redis_link import RedisLink, RedisSettings
from blackboard.store import BlackboardStore
from tests.support.servers import RedisServer


async def orphaned_keys(url: str, prefix: str) -> list[str]:
    """Keys that stay for ever once every listed run is finished."""
    settings = RedisSettings(prefix=prefix)
    async with RedisStore(url, settings) as store:
        for run in await store.runs(active=False):
            await store.finish(run, await store.head(run), keep_seconds=60)
    link = RedisLink(url, settings)
    try:
        keys = await link.call("scan", "KEYS", f"{prefix}:*")
        lifetimes = await link.many("scan", [("PTTL", key) for key in keys])
    finally:
        await link.aclose()
    lists = {
        f"{prefix}:runs",
        f"{prefix}:runs:active",
        f"{prefix}:shared:things",
        f"{prefix}:shared:providers",
    }
    return [
        key.decode()
        for key, lifetime in zip(keys, lifetimes, strict=True)
        if lifetime < 0 and key.decode() not in lists
    ]


@pytest.fixture
async def redis_settings(redis_server: RedisServer) -> AsyncIterator[RedisSettings]:
    """A prefix of the test's own; at the end every key under it must have an owner."""
    settings = RedisSettings(prefix=f"test-{secrets.token_hex(6)}", timeout_seconds=10)
    yield settings
    assert await orphaned_keys(redis_server.url, settings.prefix) == []


@pytest.fixture
async def redis_store(redis_server: RedisServer, redis_settings: RedisSettings) -> AsyncIterator[RedisStore]:
    async with RedisStore(redis_server.url, redis_settings) as store:
        yield store


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> BlackboardStore:
    if request.param == "memory":
        return MemoryStore()
    return request.getfixturevalue("redis_store")
