"""JetStream alone: outages, lost state, permissions, and the flow of many messages."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from protocol.errors import MessageTooLarge, TransportUnavailable
from protocol.transport.contract import ConsumerSpec, Delivery, Puller, StreamSpec
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from tests.support.servers import NatsServer
from tests.support.waiting import wait_for_answer, wait_until
from tests.transport.conftest import Messages, Received, settings_for

pytestmark = pytest.mark.anyio

STREAM = StreamSpec("WORK", ("work.>",), retention="workqueue")
LOG = StreamSpec("LOG", ("log.>",))
CONSUMER = ConsumerSpec("WORK", "workers", "work.>", ack_wait_seconds=1)

WORKER = """{ user: "worker", password: "worker", permissions {
    publish: ["$JS.API.CONSUMER.MSG.NEXT.WORK.workers", "$JS.ACK.WORK.workers.>", "log.worker"]
    subscribe: ["_INBOX_worker.>"] } }"""


@dataclass
class Heard:
    """What a transport reported."""

    errors: list[Exception] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def any_error(self, text: str) -> bool:
        return any(text in str(error) for error in self.errors)


def connect(server: NatsServer, heard: Heard | None = None, **changes: object) -> JetStreamTransport:
    heard = heard or Heard()
    return JetStreamTransport(
        settings_for(server, **changes), on_error=heard.errors.append, on_closed=heard.closed.append
    )


@asynccontextmanager
async def connected(server: NatsServer, heard: Heard | None = None) -> AsyncIterator[JetStreamTransport]:
    async with connect(server, heard) as transport:
        await transport.ensure([STREAM, LOG], [CONSUMER])
        yield transport


async def publish(transport: JetStreamTransport, text: str) -> None:
    await transport.publish("work.a", text.encode(), message_id=text)


async def publish_until_confirmed(transport: JetStreamTransport, text: str) -> None:
    while True:
        try:
            await publish(transport, text)
        except TransportUnavailable:
            await anyio.sleep(0.05)
        else:
            return


async def test_nothing_confirmed_is_lost_when_the_server_is_killed_under_traffic(
    own_nats: NatsServer,
) -> None:
    total, publishers = 3000, 32
    texts, confirmed, received = iter(range(total)), set[str](), Received()

    async def keep_publishing() -> None:
        for number in texts:
            await publish_until_confirmed(transport, str(number))
            confirmed.add(str(number))

    async with connected(own_nats) as transport:

        def settle(delivery: Delivery) -> None:
            received(delivery)
            delivery.ack()
            puller.add_credits(1)

        async with transport.pull("WORK", "workers", settle) as puller, anyio.create_task_group() as tasks:
            puller.add_credits(64)
            for _ in range(publishers):
                tasks.start_soon(keep_publishing)
            for share in (1, 2):
                await wait_until(lambda share=share: len(confirmed) > share * total // 4)
                own_nats.kill()
                await anyio.to_thread.run_sync(own_nats.restart)
            await wait_until(lambda: len(confirmed) == total, timeout_seconds=30)
            await wait_until(
                lambda: {data.decode() for data in received.data} == confirmed, timeout_seconds=30
            )
        await wait_for_answer(lambda: transport.pending("WORK", "workers"), 0)


async def test_credits_neither_leak_nor_double_over_a_restart(own_nats: NatsServer) -> None:
    received = Received()
    async with connected(own_nats) as transport, transport.pull("WORK", "workers", received) as puller:
        puller.add_credits(5)
        await publish(transport, "before")
        await wait_until(lambda: len(received) == 1)
        received.deliveries[0].ack()
        for _ in range(2):
            await anyio.to_thread.run_sync(own_nats.restart)
            await wait_for_answer(lambda: ready(transport), True)
        for number in range(20):
            await publish(transport, str(number))
        await wait_until(lambda: len(received) == 5)
        await anyio.sleep(0.3)
        assert len(received) == 5
        assert puller.drop_credits() == 0


async def ready(transport: JetStreamTransport) -> bool:
    try:
        await transport.pending("WORK", "workers")
    except TransportUnavailable:
        return False
    return True


async def test_credits_neither_leak_nor_double_when_pulls_expire(own_nats: NatsServer) -> None:
    received = Received()
    async with connected(own_nats) as transport, transport.pull("WORK", "workers", received) as puller:
        puller.add_credits(2)
        puller.add_credits(1)
        await anyio.sleep(2.5)
        for number in range(10):
            await publish(transport, f"expiry-{number}")
        await wait_until(lambda: len(received) == 3)
        await anyio.sleep(0.2)
        assert len(received) == 3


async def test_pulls_survive_a_frozen_server(own_nats: NatsServer) -> None:
    heard, received = Heard(), Received()
    async with connected(own_nats, heard) as transport, transport.pull("WORK", "workers", received) as puller:
        puller.add_credits(3)
        own_nats.pause()
        with pytest.raises(TransportUnavailable, match="not confirmed in 2 s"):
            await publish(transport, "frozen")
        await wait_until(lambda: heard.any_error("nothing heard"))
        own_nats.resume()
        await wait_until(lambda: b"frozen" in received.data)
        for number in range(5):
            await publish(transport, str(number))
        await wait_until(lambda: len(received) == 3)
        await anyio.sleep(0.2)
        assert len(received) == 3


async def test_a_stream_deleted_by_hand_is_recreated_and_pulled_from(own_nats: NatsServer) -> None:
    heard, received = Heard(), Received()
    async with connected(own_nats, heard) as transport, transport.pull("WORK", "workers", received) as puller:
        puller.add_credits(2)
        await publish(transport, "before")
        await wait_until(lambda: len(received) == 1)
        await transport._topology.call("STREAM.DELETE.WORK")
        await wait_until(lambda: heard.any_error("pulling from WORK/workers"))
        drifts = await transport.ensure([STREAM], [CONSUMER])
        assert [drift.remedy for drift in drifts] == ["created", "created"]
        await publish(transport, "after")
        await wait_until(lambda: received.data == [b"before", b"after"])


async def test_a_consumer_ahead_of_its_stream_is_recreated(own_nats: NatsServer) -> None:
    received = Received()
    async with connected(own_nats) as transport, transport.pull("WORK", "workers", received) as puller:
        puller.add_credits(10)
        for number in range(5):
            await publish(transport, str(number))
        await wait_until(lambda: len(received) == 5)
        own_nats.stop()
        lose_messages(own_nats.folder, "WORK")
        await anyio.to_thread.run_sync(own_nats.start)
        await wait_for_answer(lambda: ready(transport), True)
        (drift,) = await transport.ensure([STREAM], [CONSUMER])
        assert drift.remedy == "recreated"
        assert "ahead of its stream: 5 > 0" in drift.found
        await transport.publish("work.a", b"new", message_id="new")
        await wait_until(lambda: received.data[5:] == [b"new"])
        assert await transport.ensure([STREAM], [CONSUMER]) == []


def lose_messages(folder: Path, stream: str) -> None:
    """A stream rolled back behind its consumer, as a power loss can leave it."""
    (messages,) = folder.glob(f"data/**/streams/{stream}/msgs")
    shutil.rmtree(messages)
    messages.mkdir()


async def test_twenty_thousand_messages_flow_through_four_pullers_without_a_stall(
    own_nats: NatsServer,
) -> None:
    total, seen, times = 20_000, set[bytes](), [anyio.current_time()]
    pullers: list[Puller] = []

    def receive(delivery: Delivery, index: int) -> None:
        times.append(anyio.current_time())
        seen.add(delivery.data)
        delivery.ack()
        pullers[index].add_credits(1)

    async def publish_share(share: int) -> None:
        for number in range(share, total, 128):
            await publish(transport, f"flow-{number}")

    async with connected(own_nats) as transport, AsyncExitStack() as opened:
        for index in range(4):
            worker = await opened.enter_async_context(connect(own_nats))
            pull = worker.pull("WORK", "workers", partial(receive, index=index))
            pullers.append(await opened.enter_async_context(pull))
            pullers[-1].add_credits(16)
        async with anyio.create_task_group() as tasks:
            for share in range(128):
                tasks.start_soon(publish_share, share)
        await wait_until(lambda: len(seen) == total, timeout_seconds=60)
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.0
    assert len(times) == total + 1


async def test_a_connection_closed_for_good_is_announced_and_fails_what_waits(own_nats: NatsServer) -> None:
    heard = Heard()
    failures: list[str] = []

    async def ask() -> None:
        try:
            await transport.request("silent", b"", timeout_seconds=30)
        except TransportUnavailable as error:
            failures.append(str(error))

    async with (
        connect(own_nats, heard) as transport,
        transport.subscribe("silent", Messages()),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask)
        await wait_until(lambda: bool(transport._replies._waiting))
        own_nats.change_password()
        await wait_until(lambda: bool(heard.closed and failures))
        with pytest.raises(TransportUnavailable, match="is closed"):
            await publish(transport, "too late")
    assert "authorization" in heard.closed[0].lower()
    assert "was closed" in failures[0]


async def test_an_orderly_end_is_not_announced_as_a_closed_connection(nats_server: NatsServer) -> None:
    heard = Heard()
    async with connect(nats_server, heard):
        pass
    assert heard == Heard()


async def test_a_cancelled_owner_still_sends_what_it_emitted_and_closes(nats_server: NatsServer) -> None:
    inbox = Messages()
    async with connected(nats_server) as listener, listener.subscribe("cancelled", inbox):
        with anyio.CancelScope() as scope:
            async with connect(nats_server) as leaving:
                leaving.emit("cancelled", b"draining")
                scope.cancel()
                await anyio.sleep_forever()
        assert leaving._client.is_closed
        await wait_until(lambda: len(inbox) == 1)


async def test_what_was_emitted_before_the_end_is_sent(nats_server: NatsServer) -> None:
    inbox = Messages()
    async with connected(nats_server) as listener, listener.subscribe("farewell", inbox):
        async with connect(nats_server) as leaving:
            leaving.emit("farewell", b"draining")
        await wait_until(lambda: len(inbox) == 1)


async def test_a_denied_publish_fails_at_once_and_is_reported(tmp_path: Path) -> None:
    heard = Heard()
    server = NatsServer(tmp_path, extra_users=WORKER).start()
    worker = {"user": "worker", "password": "worker", "inbox_prefix": "_INBOX_worker"}
    try:
        async with connected(server), connect(server, heard, **worker) as transport:
            with anyio.fail_after(1), pytest.raises(TransportUnavailable, match="permission denied"):
                await transport.publish("work.Forbidden", b"", message_id="x")
            transport.emit("log.other", b"")
            await wait_until(lambda: heard.any_error("log.other"))
    finally:
        server.kill()


async def test_a_worker_needs_few_permissions(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, extra_users=WORKER).start()
    heard, received = Heard(), Received()
    worker = {"user": "worker", "password": "worker", "inbox_prefix": "_INBOX_worker"}
    try:
        async with (
            connected(server) as leader,
            connect(server, heard, **worker) as transport,
            transport.pull("WORK", "workers", received) as puller,
        ):
            puller.add_credits(1)
            await publish(leader, "task")
            await wait_until(lambda: len(received) == 1)
            received.deliveries[0].ack()
            await transport.publish("log.worker", b"done", message_id="done")
            await wait_for_answer(lambda: leader.pending("WORK", "workers"), 0)
        assert heard == Heard()
    finally:
        server.kill()


async def test_a_handler_that_raises_is_reported_and_hears_the_next_message(nats_server: NatsServer) -> None:
    heard, inbox = Heard(), Messages()

    def receive(message: object) -> None:
        inbox(message)
        raise KeyError("a bug")

    async with connect(nats_server, heard) as transport, transport.subscribe("buggy", receive):
        transport.emit("buggy", b"1")
        transport.emit("buggy", b"2")
        await wait_until(lambda: len(inbox) == 2)
    assert [type(error) for error in heard.errors] == [KeyError, KeyError]


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(nats_server: NatsServer) -> None:
    heard = Heard()
    async with connected(nats_server, heard) as transport:
        with pytest.raises(MessageTooLarge):
            await transport.publish("work.a", bytes(2_000_000), message_id="large")
        transport.emit("work.a", bytes(2_000_000))
    assert [type(error) for error in heard.errors] == [MessageTooLarge]


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0"])
async def test_a_subject_cannot_smuggle_a_command(nats_server: NatsServer, subject: str) -> None:
    async with connect(nats_server) as transport:
        with pytest.raises(ValueError, match="not a subject"):
            transport.emit(subject, b"")


async def test_a_header_cannot_smuggle_another(nats_server: NatsServer) -> None:
    async with connect(nats_server) as transport:
        with pytest.raises(ValueError, match="line break"):
            transport.emit("a", b"", {"a": "b\r\nNats-Msg-Id: c"})


async def test_publishes_beyond_the_limit_wait_for_their_turn(own_nats: NatsServer) -> None:
    async with connected(own_nats):
        pass
    async with connect(own_nats, max_publishes=2) as transport:
        own_nats.pause()
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(publish, transport, f"turn-{number}")
            await wait_until(lambda: len(transport._replies._waiting) == 2)
            await anyio.sleep(0.1)
            assert len(transport._replies._waiting) == 2
            own_nats.resume()


async def test_a_server_that_is_not_there_is_an_error_within_the_time_given(own_nats: NatsServer) -> None:
    own_nats.kill()
    with anyio.fail_after(3), pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1") as caught:
        async with connect(own_nats, connect_timeout_seconds=0.5):
            pass
    assert own_nats.password not in str(caught.value)


async def test_a_client_that_misses_its_cancellation_is_told_again(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def connecting(*_: object, **__: object) -> None:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            told.append("once")
        await anyio.sleep_forever()

    monkeypatch.setattr("protocol.transport.jetstream.HotClient.connect", connecting)
    with anyio.fail_after(3), pytest.raises(TransportUnavailable, match="connecting to"):
        async with connect(nats_server, connect_timeout_seconds=0.1):
            pass
    assert told == ["once"]


async def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(TransportUnavailable, match="url"):
        async with JetStreamTransport(JetStreamSettings(("nats://host:port",))):
            pass


async def test_a_wrong_password_is_an_error_that_says_so(nats_server: NatsServer) -> None:
    with pytest.raises(TransportUnavailable, match=r"(?i)authorization violation"):
        async with connect(nats_server, password="wrong", connect_timeout_seconds=0.5):
            pass
