"""What the bus lets a worker's credential do, and what it refuses."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from coordinator import topology
from coordinator.embedded.config import WORKER_INBOX
from coordinator.embedded.folder import NatsConnection
from coordinator.embedded.servers import embedded_servers
from protocol import subjects
from protocol.errors import SwarmError, TransportUnavailable
from protocol.transport.contract import Delivery, Message, StreamSpec
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from tests.embedded.support import until

pytestmark = pytest.mark.anyio


class Bus:
    """A coordinator's and a worker's connection to one instance, and the refusals that the worker got."""

    def __init__(
        self, coordinator: JetStreamTransport, worker: JetStreamTransport, refused: list[str]
    ) -> None:
        self.coordinator = coordinator
        self.worker = worker
        self.refused = refused

    def denied(self) -> bool:
        return any("permissions violation" in text for text in self.refused)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    refused: list[str] = []
    async with AsyncExitStack() as stack:
        instance = await stack.enter_async_context(embedded_servers(tmp_path))
        known = instance.connection
        coordinator = await stack.enter_async_context(JetStreamTransport(settings(known.nats)))
        await coordinator.ensure(topology.streams(90), [topology.task_consumer("explore")])
        worker = JetStreamTransport(
            settings(known.worker.nats), on_error=lambda error: refused.append(str(error).lower())
        )
        yield Bus(coordinator, await stack.enter_async_context(worker), refused)


def settings(connection: NatsConnection) -> JetStreamSettings:
    return JetStreamSettings(
        (connection.url,),
        user=connection.user,
        password=connection.password,
        inbox_prefix=connection.inbox_prefix,
        publish_timeout_seconds=2,
        request_timeout_seconds=2,
    )


async def test_a_worker_pulls_tasks_and_publishes_discoveries_and_beats(bus: Bus) -> None:
    got = anyio.Event()

    def handle(delivery: Delivery) -> None:
        delivery.ack()
        got.set()

    async with bus.worker.pull(subjects.TASKS_STREAM, "tasks-explore", handle) as puller:
        puller.add_credits(1)
        await bus.coordinator.publish("swarm.tasks.explore", b"{}", message_id="1")
        with anyio.fail_after(5):
            await got.wait()
    await bus.worker.publish("swarm.discoveries.w1.run1", b"{}", message_id="2")
    await bus.worker.publish("swarm.discoveries", b"{}", message_id="3")
    await bus.worker.publish("swarm.heartbeat.w1", b"{}", message_id="4")
    await bus.worker.publish("swarm.inquiry.explore", b"{}", message_id="5")
    assert bus.refused == []


async def test_a_worker_asks_the_board_and_hears_its_control(bus: Bus) -> None:
    heard = anyio.Event()

    def answer(message: Message) -> None:
        message.reply(b"granted")

    async with (
        bus.coordinator.subscribe("swarm.board.>", answer),
        bus.worker.subscribe("swarm.control.w1", lambda _: heard.set()),
    ):
        assert await bus.worker.request("swarm.board.run1.w1.claim", b"{}", timeout_seconds=2) == b"granted"
        bus.coordinator.emit("swarm.control.w1", b"{}")
        with anyio.fail_after(5):
            await heard.wait()
    assert bus.refused == []


@pytest.mark.parametrize("subject", ["swarm.tasks.explore", "swarm.dead", "swarm.control.w1", "swarm.demand"])
async def test_a_worker_may_not_publish_what_coordinators_say(bus: Bus, subject: str) -> None:
    with pytest.raises(TransportUnavailable):
        await bus.worker.publish(subject, b"{}", message_id="1")
    assert bus.denied()


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.DELETE.SWARM_TASKS",
        "$JS.API.STREAM.PURGE.SWARM_DISCOVERIES",
        "$JS.API.STREAM.MSG.GET.SWARM_DISCOVERIES",
        "$JS.API.CONSUMER.MSG.NEXT.SWARM_DISCOVERIES.discoveries-run1",
        "$JS.API.CONSUMER.DELETE.SWARM_TASKS.tasks-explore",
    ],
)
async def test_a_worker_may_not_touch_the_topology_or_others_messages(bus: Bus, subject: str) -> None:
    with pytest.raises(SwarmError):
        await bus.worker.request(subject, b"{}", timeout_seconds=1)
    await until(bus.denied)


async def test_a_worker_may_not_create_streams(bus: Bus) -> None:
    with pytest.raises(SwarmError):
        await bus.worker.ensure([StreamSpec("MINE", ("mine",))], [])


@pytest.mark.parametrize("subject", [">", "_INBOX.>", "swarm.tasks.explore", "swarm.discoveries.>", "$SYS.>"])
async def test_a_worker_may_not_listen_to_others(bus: Bus, subject: str) -> None:
    heard: list[Message] = []
    async with bus.worker.subscribe(subject, heard.append):
        await until(bus.denied)
        await bus.coordinator.publish("swarm.tasks.explore", b"{}", message_id="1")
    assert heard == []


async def test_nobody_gets_in_without_a_credential(bus: Bus, tmp_path: Path) -> None:
    del bus
    async with embedded_servers(tmp_path) as instance:
        url = instance.connection.nats.url
        anonymous = JetStreamSettings((url,), inbox_prefix=WORKER_INBOX, connect_timeout_seconds=1)
        with pytest.raises(TransportUnavailable):
            async with JetStreamTransport(anonymous):
                pass
