"""nats.conf and redis.conf of compose on real servers: what they set, and what a worker's user may not do."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from coordinator import topology
from coordinator.embedded.config import WORKER_INBOX, WORKER_PUBLISH, WORKER_SUBSCRIBE
from protocol import subjects
from protocol.errors import SwarmError
from protocol.transport.contract import Delivery, Message
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from tests.compose.support import COMPOSE, SERVICES, ComposeNats, ComposeRedis, config_of_one_worker
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeNats]:
    server = ComposeNats(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()


@pytest.fixture
def refused() -> list[str]:
    return []


@asynccontextmanager
async def connected(
    server: ComposeNats, user: str, refused: list[str], *, prefix: str = "_INBOX", password: str = ""
) -> AsyncGenerator[JetStreamTransport]:
    password = password or server.passwords[user.upper()]
    settings = JetStreamSettings(
        (server.address,),
        user=user,
        password=password,
        inbox_prefix=prefix,
        publish_timeout_seconds=1,
        request_timeout_seconds=1,
        connect_timeout_seconds=0.5,
    )
    async with JetStreamTransport(settings, on_error=lambda error: refused.append(str(error).lower())) as bus:
        yield bus


@pytest.fixture
async def coordinator(nats: ComposeNats) -> AsyncGenerator[JetStreamTransport]:
    async with connected(nats, "coordinator", []) as bus:
        await bus.ensure(topology.streams(90), [topology.task_consumer("explore")])
        yield bus


@pytest.fixture
async def worker(nats: ComposeNats, refused: list[str]) -> AsyncGenerator[JetStreamTransport]:
    async with connected(nats, "worker", refused, prefix=WORKER_INBOX) as bus:
        yield bus


def test_the_worker_has_the_rights_that_it_has_beside_embedded_servers() -> None:
    text = (COMPOSE / "nats.conf").read_text()
    shared = text[text.index('user: "worker"') :]
    assert all(f'"{subject}"' in shared for subject in (*WORKER_PUBLISH, *WORKER_SUBSCRIBE))
    assert shared.count('"') == 2 * (1 + len(WORKER_PUBLISH) + len(WORKER_SUBSCRIBE))
    assert SERVICES["worker"]["environment"]["SWARMBOARD_NATS_INBOX_PREFIX"] == WORKER_INBOX


async def test_tasks_reach_workers_and_discoveries_leave_them(
    coordinator: JetStreamTransport, worker: JetStreamTransport, refused: list[str]
) -> None:
    got: list[Delivery] = []
    async with worker.pull(subjects.TASKS_STREAM, "tasks-explore", got.append) as puller:
        puller.add_credits(1)
        await coordinator.publish(subjects.tasks("explore"), b"{}", message_id="1")
        await wait_until(lambda: bool(got))
        got[0].ack()
    await worker.publish(subjects.discoveries("w1", "r1"), b"{}", message_id="2")
    await worker.publish(subjects.heartbeat("w1"), b"{}", message_id="3")
    assert refused == []


@pytest.mark.parametrize(
    "subject", ["swarm.tasks.explore", "swarm.tasks", "swarm.control.w2", "swarm.dead", "swarm.demand"]
)
async def test_a_worker_may_not_speak_as_a_coordinator(
    coordinator: JetStreamTransport, worker: JetStreamTransport, refused: list[str], subject: str
) -> None:
    worker.emit(subject, b"{}")
    await wait_until(lambda: any("permissions violation" in text for text in refused))


async def test_a_worker_may_not_delete_streams_or_consumers(
    coordinator: JetStreamTransport, worker: JetStreamTransport, refused: list[str]
) -> None:
    for subject in (
        f"$JS.API.STREAM.DELETE.{subjects.TASKS_STREAM}",
        f"$JS.API.STREAM.PURGE.{subjects.DISCOVERIES_STREAM}",
        f"$JS.API.CONSUMER.DELETE.{subjects.TASKS_STREAM}.tasks-explore",
    ):
        with pytest.raises(SwarmError):
            await worker.request(subject, b"", timeout_seconds=0.3)
    assert sum("permissions violation" in text for text in refused) == 3
    assert await coordinator.ensure(topology.streams(90), [topology.task_consumer("explore")]) == []


@pytest.mark.parametrize("subject", [">", "swarm.>", "swarm.tasks.*", "swarm.discoveries.>", "_INBOX.>"])
async def test_a_worker_may_not_listen_to_others(
    coordinator: JetStreamTransport, worker: JetStreamTransport, refused: list[str], subject: str
) -> None:
    heard: list[Message] = []
    async with worker.subscribe(subject, heard.append):
        await wait_until(lambda: any("permissions violation" in text for text in refused))
        await coordinator.publish(subjects.tasks("explore"), b"{}", message_id=subject)
    assert heard == []


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("worker", "wrong"), ("coordinator", "wrong")])
async def test_nobody_gets_in_without_a_password(nats: ComposeNats, user: str, password: str) -> None:
    with pytest.raises(SwarmError):
        async with connected(nats, user, [], password=password):
            pass


async def test_a_worker_with_a_user_of_its_own_cannot_speak_or_hear_as_another(
    tmp_path: Path, refused: list[str]
) -> None:
    server = ComposeNats(tmp_path, config_of_one_worker(tmp_path, "w1")).start()
    async with connected(server, "coordinator", []) as bus:
        await bus.ensure(topology.streams(90), ())
        async with connected(server, "worker", refused, prefix="_INBOX_w1") as worker:
            await worker.publish(subjects.discoveries("w1", "r1"), b"{}", message_id="1")
            await worker.publish(subjects.heartbeat("w1"), b"{}", message_id="2")
            assert refused == []
            foreign = (
                subjects.discoveries("w2", "r1"),
                subjects.heartbeat("w2"),
                subjects.board("r1", "w2", "claim"),
            )
            for subject in foreign:
                worker.emit(subject, b"{}")
            await wait_until(lambda: sum("permissions violation" in text for text in refused) == len(foreign))
            async with worker.subscribe(subjects.control("w2"), lambda _: None):
                await wait_until(lambda: len(refused) == len(foreign) + 1)
    server.kill()


async def test_redis_appends_never_evicts_and_forgets_nothing_when_killed(tmp_path: Path) -> None:
    server = ComposeRedis(tmp_path).start()
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    async with Redis.from_url(server.url, decode_responses=True) as client:
        assert await client.config_get(*wanted) == wanted
        await client.set("kept", "1")
    server.kill()
    server.start()
    async with Redis.from_url(server.url, decode_responses=True) as client:
        assert await client.get("kept") == "1"
    with pytest.raises(RedisError):
        async with Redis.from_url(f"redis://127.0.0.1:{server.port}") as stranger:
            await stranger.ping()
    server.kill()
