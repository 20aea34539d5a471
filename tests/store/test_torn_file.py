"""An append-only file that a power loss has cut in the middle of an append."""

from pathlib import Path

import anyio
import pytest

from blackboard.redis import RedisStore
from blackboard.store import Batch
from protocol.errors import StoreUnavailable
from tests.store.building import RUN, TTL, contents, create, events, task_row
from tests.store.test_redis_faults import admin, append_until_definite
from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio


async def _written_anew(server: RedisServer, store: RedisStore) -> None:
    """Once a client has found the server again."""
    with anyio.fail_after(20):
        while True:
            try:
                await store.head(RUN)
            except StoreUnavailable:
                continue
            info = await admin(server, "INFO", "persistence")
            assert isinstance(info, bytes)
            if b"aof_last_rewrite_time_sec:-1" not in info and b"aof_rewrite_in_progress:0" in info:
                return
            await anyio.sleep(0.02)


def cut(folder: Path, missing_bytes: int) -> None:
    (newest,) = folder.glob("appendonlydir/*.incr.aof")
    with newest.open("r+b") as file:
        file.truncate(file.seek(0, 2) - missing_bytes)


@pytest.mark.parametrize("missing_bytes", [5, 40])
async def test_half_an_append_never_comes_back(tmp_path: Path, missing_bytes: int):
    """Redis leaves it out when it starts; at the next start it would run it with whatever came after."""
    server = RedisServer(tmp_path).start()
    try:
        async with RedisStore(server.url) as store:
            head = await create(store)
            await _written_anew(server, store)
            lost = Batch(RUN, "leader-1", head, events("lost"), [task_row("lost")])
            await store.append(lost, ttl_seconds=TTL)
            server.kill()
            cut(tmp_path, missing_bytes)
            server.start()
            await _written_anew(server, store)
            assert await store.head(RUN) == head
            other = Batch(RUN, "leader-1", head, events("other"), [task_row("other")])
            assert await append_until_definite(store, other) == head + 1
            before = await contents(store)
            server.kill()
            server.start()
            await _written_anew(server, store)
            assert await contents(store) == before
            assert set(await store.rows(RUN, "task")) == {"other"}
    finally:
        server.kill()
