"""What only a real server can do: lose a reply, die, refuse, hang, run full."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from blackboard.encoding import FORMAT
from blackboard.redis import RedisStore
from blackboard.redis_link import RedisLink, RedisSettings
from blackboard.store import Batch
from protocol.errors import StoreUnavailable, UnsupportedVersion
from tests.store.building import RUN, TTL, ask, body_ref, contents, create, events, put, task_row, write
from tests.support.disks import failing_fsync, full_disk, may_trace
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer

pytestmark = pytest.mark.anyio


async def admin(server: RedisServer, *command: str | int) -> object:
    """A command for the server itself."""
    link = RedisLink(server.url, RedisSettings())
    try:
        return await link.call("admin", *command)
    finally:
        await link.aclose()


async def append_until_definite(store: RedisStore, batch: Batch) -> int:
    with anyio.fail_after(20):
        while True:
            try:
                return await store.append(batch, ttl_seconds=TTL)
            except StoreUnavailable:
                await anyio.sleep(0.02)


async def test_a_batch_whose_reply_was_lost_is_applied_once(
    redis_server: RedisServer, redis_settings: RedisSettings
):
    async with (
        Proxy.to(redis_server.port) as proxy,
        RedisStore(proxy.url(redis_server.url), redis_settings) as store,
    ):
        head = await create(store)
        batch = Batch(RUN, "leader-1", head, events("a", "b"), [task_row("t")], [write(1)])
        proxy.drop_replies()
        with pytest.raises(StoreUnavailable):
            await store.append(batch, ttl_seconds=TTL)
        assert proxy.dropped == 1
        before = await contents(store)
        assert await store.head(RUN) == head + 2
        assert await append_until_definite(store, batch) == head + 2
        assert await contents(store) == before
        assert await ask(store) == [1]


async def repeat_losing_each_reply(proxy: Proxy, operation: Callable[[], Awaitable[object]]) -> None:
    """Loses the first reply, then the second, and so on, until the operation needs no more of them."""
    for passed in range(50):
        before = proxy.dropped
        proxy.drop_replies(after=passed)
        with contextlib.suppress(StoreUnavailable):
            await operation()
        if proxy.dropped == before:
            proxy.drop_replies(0)
            return
    pytest.fail("the operation does not come to an end")


async def test_every_operation_survives_a_lost_reply_when_it_is_repeated(
    redis_server: RedisServer, redis_settings: RedisSettings
):
    ref = body_ref(b"body")
    async with (
        Proxy.to(redis_server.port) as proxy,
        RedisStore(proxy.url(redis_server.url), redis_settings) as store,
    ):
        operations = (
            lambda: store.append(Batch(RUN, "", 0, events("run_created")), ttl_seconds=TTL),
            lambda: store.acquire(RUN, "leader-1", ttl_seconds=TTL),
            lambda: store.put(RUN, ref.digest, size_bytes=4, offset=0, chunk=b"bo", ttl_seconds=TTL),
            lambda: store.put(RUN, ref.digest, size_bytes=4, offset=2, chunk=b"dy", ttl_seconds=TTL),
            lambda: store.finish(RUN, 1, keep_seconds=60),
            lambda: store.release(RUN, "leader-1"),
        )
        for operation in operations:
            await repeat_losing_each_reply(proxy, operation)
        assert await store.head(RUN) == 1
        assert (await store.get(RUN, ref.digest, offset=0, limit=9))[0] == b"body"
        assert await store.leader(RUN) is None
        assert await store.runs(active=True) == []


async def test_a_connection_that_was_cut_is_made_again(
    redis_server: RedisServer, redis_settings: RedisSettings
):
    async with (
        Proxy.to(redis_server.port) as proxy,
        RedisStore(proxy.url(redis_server.url), redis_settings) as store,
    ):
        await create(store)
        await proxy.cut()
        with pytest.raises(StoreUnavailable):
            await store.head(RUN)
        proxy.mend()
        assert await store.head(RUN) == 1


async def test_a_server_that_hangs_counts_as_unavailable_in_time(own_redis: RedisServer):
    async with RedisStore(own_redis.url, RedisSettings(timeout_seconds=0.3)) as store:
        await create(store)
        own_redis.pause()
        with anyio.fail_after(2), pytest.raises(StoreUnavailable, match=r"no answer in 0\.3 s"):
            await store.append(Batch(RUN, "leader-1", 1, events("a")), ttl_seconds=TTL)
        own_redis.resume()
        batch = Batch(RUN, "leader-1", 1, events("a"))
        assert await append_until_definite(store, batch) == 2


async def test_many_callers_that_gave_up_on_a_hanging_server_leave_no_connection_behind(
    own_redis: RedisServer,
):
    settings = RedisSettings(timeout_seconds=0.2, max_connections=4)

    async def give_up() -> None:
        with pytest.raises(StoreUnavailable):
            await store.head(RUN)

    async with RedisStore(own_redis.url, settings) as store:
        await create(store)
        for _ in range(3):
            own_redis.pause()
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(give_up)
            own_redis.resume()
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(store.head, RUN)
        connected = await admin(own_redis, "INFO", "clients")
        assert isinstance(connected, bytes)
        assert int(connected.partition(b"connected_clients:")[2].split()[0]) <= 5


async def test_idle_connections_notice_that_the_server_has_come_back(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(store.head, RUN)
        await anyio.to_thread.run_sync(own_redis.restart)
        for _ in range(10):
            assert await store.head(RUN) == 0


async def test_after_a_kill_and_restart_every_acknowledged_append_is_there(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        await create(store)
        acknowledged = 1
        killed = anyio.Event()

        async def kill() -> None:
            await anyio.sleep(0.3)
            await anyio.to_thread.run_sync(own_redis.kill)
            killed.set()

        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            while not killed.is_set():
                row = task_row(f"t{acknowledged}")
                batch = Batch(RUN, "leader-1", acknowledged, events(f"e{acknowledged}"), [row])
                try:
                    acknowledged = await store.append(batch, ttl_seconds=TTL)
                except StoreUnavailable:
                    await killed.wait()
        own_redis.start()
        assert acknowledged > 10
        assert await append_until_definite(store, batch) == acknowledged + (batch.head == acknowledged)
        head = await store.head(RUN)
        assert len(await store.log(RUN, after=0, limit=head)) == head
        assert await store.rows(RUN, "task") == {f"t{n}": b"x" for n in range(1, head)}


async def test_the_script_is_loaded_again_when_the_server_forgot_it(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        await create(store)
        await admin(own_redis, "SCRIPT", "FLUSH")
        assert await store.append(Batch(RUN, "leader-1", 1, events("a")), ttl_seconds=TTL) == 2


async def test_a_full_memory_refuses_whole_batches_and_names_the_remedy(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        head = await create(store)
        before = await contents(store)
        await admin(own_redis, "CONFIG", "SET", "maxmemory", "1mb")
        batch = Batch(RUN, "leader-1", head, events("a"), [task_row("t", "x" * 2_000_000)], [write(1)])
        with pytest.raises(StoreUnavailable, match="raise maxmemory"):
            await store.append(Batch(RUN, "leader-1", head, events("a"), [task_row("t")]), ttl_seconds=TTL)
        assert await contents(store) == before
        await admin(own_redis, "CONFIG", "SET", "maxmemory", "0")
        assert await store.append(batch, ttl_seconds=TTL) == head + 1


async def test_a_replica_refuses_and_names_the_remedy(own_redis: RedisServer, redis_server: RedisServer):
    async with RedisStore(own_redis.url) as store:
        await create(store)
        await admin(own_redis, "REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="point the URL at the primary"):
            await store.append(Batch(RUN, "leader-1", 1, events("a")), ttl_seconds=TTL)


async def test_a_server_that_may_evict_is_refused(tmp_path: Path):
    server = RedisServer(tmp_path, "maxmemory-policy allkeys-lru").start()
    try:
        with pytest.raises(StoreUnavailable, match="set `maxmemory-policy noeviction`"):
            async with RedisStore(server.url):
                pass
    finally:
        server.kill()


async def test_a_server_that_is_not_there_is_reported(redis_settings: RedisSettings):
    with pytest.raises(StoreUnavailable, match="Redis: ping failed"):
        async with RedisStore("redis://127.0.0.1:1", redis_settings):
            pass


async def test_a_wrong_password_is_reported_with_the_remedy(redis_server: RedisServer):
    wrong = redis_server.url.replace(redis_server.password, "wrong")
    with pytest.raises(StoreUnavailable, match="password in the URL"):
        async with RedisStore(wrong):
            pass


async def test_ping_says_how_durable_an_append_is(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        facts = await store.ping()
        assert facts["durability"] == "accepted"
        assert (facts["appendonly"], facts["appendfsync"]) == ("yes", "everysec")
        assert (facts["maxmemory_policy"], facts["loading"]) == ("noeviction", "0")
        assert facts["version"][0].isdigit()
        await admin(own_redis, "CONFIG", "SET", "appendfsync", "always")
        assert (await store.ping())["durability"] == "durable"


async def test_a_run_of_a_newer_format_is_not_led(
    redis_server: RedisServer, redis_settings: RedisSettings, redis_store: RedisStore
):
    await redis_store.append(Batch(RUN, "", 0, events("run_created")), ttl_seconds=TTL)
    key = f"{redis_settings.prefix}:{{{RUN}}}:meta"
    await admin(redis_server, "HSET", key, "format", FORMAT + 1)
    with pytest.raises(UnsupportedVersion, match="upgrade the older side"):
        await redis_store.acquire(RUN, "t", ttl_seconds=TTL)
    assert await redis_store.leader(RUN) is None


async def test_an_id_whose_run_was_never_written_is_skipped_and_dropped_when_old(
    redis_server: RedisServer, redis_settings: RedisSettings, redis_store: RedisStore
):
    names = [f"{redis_settings.prefix}:runs", f"{redis_settings.prefix}:runs:active"]
    await create(redis_store)
    for name in names:
        await admin(redis_server, "ZADD", name, 1, "old-ghost")
        await admin(redis_server, "ZADD", name, 9_999_999_999_999, "young-ghost")
    for active, name in zip((False, True), names, strict=True):
        assert await redis_store.runs(active=active) == [RUN]
        assert await admin(redis_server, "ZRANGE", name, 0, -1) == [RUN.encode(), b"young-ghost"]


async def test_keys_made_after_the_end_of_a_run_expire_without_being_told(
    redis_server: RedisServer, redis_settings: RedisSettings, redis_store: RedisStore
):
    head = await create(redis_store)
    digest = await put(redis_store, b"late")
    await redis_store.finish(RUN, await redis_store.head(RUN), keep_seconds=60)
    late = write(1, tags=["new"], body=body_ref(b"late"))
    batch = Batch(RUN, "leader-1", head, events("late"), [task_row("t")], [late])
    await redis_store.append(batch, ttl_seconds=TTL)
    names = await admin(redis_server, "KEYS", f"{redis_settings.prefix}:{{{RUN}}}:*")
    assert isinstance(names, list)
    assert f"{redis_settings.prefix}:{{{RUN}}}:body:{digest}".encode() in names
    assert [name for name in names if await admin(redis_server, "PTTL", name.decode()) == -1] == []


async def test_a_cancelled_call_leaves_the_connection_usable(redis_store: RedisStore):
    head = await create(redis_store)
    for _ in range(20):
        with anyio.move_on_after(0.0005):
            await redis_store.log(RUN, after=0)
        assert await redis_store.head(RUN) == head


async def test_more_callers_than_connections_wait_their_turn(
    redis_server: RedisServer, redis_settings: RedisSettings
):
    settings = RedisSettings(prefix=redis_settings.prefix, max_connections=3)
    async with RedisStore(redis_server.url, settings) as store, anyio.create_task_group() as group:
        await create(store)
        for _ in range(100):
            group.start_soon(store.head, RUN)


async def test_a_server_that_cannot_write_to_its_disk_refuses_and_names_the_remedy(tmp_path: Path):
    server = RedisServer(tmp_path, "dbfilename taken", "save 3600 1").start()
    try:
        async with RedisStore(server.url) as store:
            head = await create(store)
            (tmp_path / "taken" / "by-a-folder").mkdir(parents=True)
            await admin(server, "BGSAVE", "SCHEDULE")
            with anyio.fail_after(10):
                while True:
                    info = await admin(server, "INFO", "persistence")
                    assert isinstance(info, bytes)
                    if b"rdb_last_bgsave_status:err" in info:
                        break
                    await anyio.sleep(0.02)
            with pytest.raises(StoreUnavailable, match="free space"):
                await store.append(Batch(RUN, "leader-1", head, events("a")), ttl_seconds=TTL)
            assert await store.head(RUN) == head
    finally:
        server.kill()


async def appended_until_refused(store: RedisStore, head: int) -> int:
    """The head when the store has refused an append, because of its disk."""
    with anyio.fail_after(30):
        while True:
            try:
                head = await store.append(Batch(RUN, "leader-1", head, events("a")), ttl_seconds=TTL)
            except StoreUnavailable as error:
                assert "free space" in str(error)
                return head
            await anyio.sleep(0.05)


async def head_in_time(store: RedisStore, head: int) -> int:
    """The head after an append to this very head that is repeated until the store takes it."""
    with anyio.fail_after(30):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await store.append(Batch(RUN, "leader-1", head, events("b")), ttl_seconds=TTL)
            await anyio.sleep(0.05)


@pytest.mark.skipif(not may_trace(), reason="no process may make calls of another fail here")
async def test_a_full_disk_loses_nothing_and_appends_go_on_when_there_is_room(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        head = await create(store)
        with full_disk(own_redis):
            head = await appended_until_refused(store, head)
        head = await head_in_time(store, head)
        own_redis.kill()
        own_redis.start()
        assert await head_in_time(store, head) == head + 1


@pytest.mark.skipif(not may_trace(), reason="no process may make calls of another fail here")
async def test_a_failing_fsync_loses_nothing_and_appends_go_on_after_a_start(own_redis: RedisServer):
    async with RedisStore(own_redis.url) as store:
        head = await create(store)
        with failing_fsync(own_redis):
            head = await appended_until_refused(store, head)
        own_redis.kill()
        own_redis.start()
        assert await head_in_time(store, head) == head + 1


async def test_a_lease_that_was_given_before_the_servers_clock_was_set_back_does_not_outlast_it(
    redis_server: RedisServer, redis_settings: RedisSettings
):
    async with RedisStore(redis_server.url, redis_settings) as store:
        assert await store.acquire(RUN, "dead", ttl_seconds=TTL)
        await admin(redis_server, "PEXPIRE", f"{redis_settings.prefix}:{{{RUN}}}:lease", 9 * TTL * 1000)
        assert not await store.acquire(RUN, "next", ttl_seconds=TTL), "another coordinator's may be longer"
        await admin(redis_server, "PEXPIRE", f"{redis_settings.prefix}:{{{RUN}}}:lease", 3_600_000)
        assert await store.acquire(RUN, "next", ttl_seconds=TTL)
        assert await store.leader(RUN) == "next"
