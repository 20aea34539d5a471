"""What every transport promises about streams, durables and pulls."""

import anyio
import pytest

from protocol.errors import TransportUnavailable
from protocol.transport.contract import Publication, Transport
from tests.support.waiting import wait_for_answer, wait_until
from tests.transport.conftest import Bus, Received, Workers

pytestmark = pytest.mark.anyio

QUIET_SECONDS = 0.15
"""How long nothing must happen where nothing may happen."""


async def publish_many(transport: Transport, bus: Bus, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(publish, transport, bus, str(number))


async def publish(transport: Transport, bus: Bus, text: str) -> None:
    await transport.publish(bus.subject, text.encode(), message_id=text)


async def test_a_puller_gets_no_more_than_its_credits(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await publish_many(transport, bus, 20)
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        await anyio.sleep(QUIET_SECONDS)
        assert len(received) == 0
        for count, total in ((1, 1), (5, 6), (3, 9)):
            puller.add_credits(count)
            await wait_until(lambda total=total: len(received) == total)
            await anyio.sleep(QUIET_SECONDS)
            assert len(received) == total


async def test_many_publishes_are_stored_in_order_and_confirmed_once(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    told: list[TransportUnavailable | None] = []
    names = [str(number) for number in range(100)]
    transport.publish_all([Publication(bus.subject, name.encode(), name) for name in names], done=told.append)
    await wait_until(lambda: told == [None])
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(len(names))
        await wait_until(lambda: received.data == [name.encode() for name in names])


async def test_publishes_whose_last_no_stream_takes_are_not_confirmed(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    told: list[TransportUnavailable | None] = []
    lost = Publication("nobody.takes.this", b"two", "two")
    transport.publish_all([Publication(bus.subject, b"one", "one"), lost], done=told.append)
    await wait_until(lambda: len(told) == 1)
    assert isinstance(told[0], TransportUnavailable)


async def test_credits_wait_for_messages_that_come_later(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(2)
        await anyio.sleep(QUIET_SECONDS)
        await publish_many(transport, bus, 3)
        await wait_until(lambda: len(received) == 2)


async def test_a_puller_waits_for_a_durable_that_does_not_exist_yet(bus: Bus, transport: Transport) -> None:
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(1)
        await anyio.sleep(QUIET_SECONDS)
        await transport.ensure([bus.stream()], [bus.consumer()])
        await publish(transport, bus, "late")
        await wait_until(lambda: received.data == [b"late"])


async def test_a_delivery_shows_subject_data_and_headers(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await transport.publish(bus.subject, b"\x00\xff\r\n", message_id="one", headers={"traceparent": "00-ab"})
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(1)
        await wait_until(lambda: len(received) == 1)
    delivery = received.deliveries[0]
    assert (delivery.subject, delivery.data) == (bus.subject, b"\x00\xff\r\n")
    assert delivery.headers["traceparent"] == "00-ab"
    assert delivery.headers["Nats-Msg-Id"] == "one"


async def test_a_refused_delivery_comes_again_after_its_delay(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await publish(transport, bus, "again")
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(2)
        await wait_until(lambda: len(received) == 1)
        start = anyio.current_time()
        received.deliveries[0].nak(delay_seconds=0.3)
        await wait_until(lambda: len(received) == 2)
        assert anyio.current_time() - start >= 0.28


async def test_a_refused_delivery_without_delay_comes_again_at_once(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await publish(transport, bus, "again")
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(2)
        await wait_until(lambda: len(received) == 1)
        received.deliveries[0].nak()
        await wait_until(lambda: len(received) == 2, timeout_seconds=1)


async def test_an_unsettled_delivery_comes_again_after_the_ack_wait(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer(ack_wait_seconds=0.3)])
    await publish(transport, bus, "forgotten")
    async with Workers(transport, bus, 2) as (first, second):
        first.puller.add_credits(1)
        await wait_until(lambda: len(first.received) == 1)
        second.puller.add_credits(1)
        await wait_until(lambda: second.received.data == [b"forgotten"])


@pytest.mark.parametrize("settle", ["ack", "term"])
async def test_a_settled_delivery_is_gone(bus: Bus, transport: Transport, settle: str) -> None:
    spec = bus.consumer(ack_wait_seconds=0.2)
    await transport.ensure([bus.stream(retention="workqueue")], [spec])
    await publish(transport, bus, "done")
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(5)
        await wait_until(lambda: len(received) == 1)
        getattr(received.deliveries[0], settle)()
        await anyio.sleep(0.2 + QUIET_SECONDS)
        assert len(received) == 1
    await wait_for_answer(lambda: transport.pending(bus.name, "durable"), 0)
    assert await transport.last_per_subject(bus.name) == []


async def test_workers_on_one_durable_share_the_queue(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(retention="workqueue")], [bus.consumer()])
    async with Workers(transport, bus, 3) as workers:
        for worker in workers:
            worker.puller.add_credits(10)
        await anyio.sleep(QUIET_SECONDS)
        await publish_many(transport, bus, 30)
        await wait_until(lambda: sum(len(worker.received) for worker in workers) == 30)
        assert [len(worker.received) for worker in workers] == [10, 10, 10]
        assert len({data for worker in workers for data in worker.received.data}) == 30


async def test_a_repeated_message_id_is_stored_once(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    for _ in range(3):
        await publish(transport, bus, "same")
    await publish(transport, bus, "other")
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(5)
        await wait_until(lambda: b"other" in received.data)
    assert received.data == [b"same", b"other"]


async def test_a_message_id_may_come_again_after_the_duplicate_window(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(duplicate_window_seconds=0.2)], [bus.consumer()])

    async def publish_and_count() -> int:
        await publish(transport, bus, "same")
        return await transport.pending(bus.name, "durable")

    await wait_for_answer(publish_and_count, 2)


async def test_dropped_credits_bring_nothing_more(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    async with Workers(transport, bus, 2) as (leaving, staying):
        leaving.puller.add_credits(4)
        await publish(transport, bus, "first")
        await wait_until(lambda: len(leaving.received) == 1)
        assert leaving.puller.drop_credits() == 3
        assert leaving.puller.drop_credits() == 0
        await anyio.sleep(QUIET_SECONDS)
        staying.puller.add_credits(4)
        await publish(transport, bus, "second")
        await wait_until(lambda: staying.received.data == [b"second"])
        leaving.puller.add_credits(1)
        staying.puller.drop_credits()
        await publish(transport, bus, "third")
        await wait_until(lambda: leaving.received.data == [b"first", b"third"])


async def test_a_closed_puller_leaves_the_queue_to_the_others(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    async with Workers(transport, bus, 1) as (left,):
        left.puller.add_credits(10)
        await anyio.sleep(QUIET_SECONDS)
    async with Workers(transport, bus, 1) as (other,):
        other.puller.add_credits(3)
        await publish_many(transport, bus, 3)
        await wait_until(lambda: len(other.received) == 3)


async def test_pending_counts_what_waits_and_what_is_not_settled(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await publish_many(transport, bus, 5)
    await wait_for_answer(lambda: transport.pending(bus.name, "durable"), 5)
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(2)
        await wait_until(lambda: len(received) == 2)
        await wait_for_answer(lambda: transport.pending(bus.name, "durable"), 5)
        received.deliveries[0].ack()
        await wait_for_answer(lambda: transport.pending(bus.name, "durable"), 4)


async def test_the_newest_message_of_every_subject_is_readable(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(storage="memory", max_msgs_per_subject=1)], [])
    for worker in ("b", "a", "c"):
        for beat in range(3):
            transport.emit(f"{bus.name}.{worker}", f"{worker}{beat}".encode(), {"kind": "beat"})
    last = [(b"a2", "beat"), (b"b2", "beat"), (b"c2", "beat")]

    async def read() -> list[tuple[bytes, str]]:
        stored = await transport.last_per_subject(bus.name)
        return [(message.data, message.headers["kind"]) for message in stored]

    await wait_for_answer(read, last)


async def test_old_messages_leave_a_stream_with_an_age_limit(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(max_age_seconds=0.3)], [])
    await publish(transport, bus, "old")
    assert len(await transport.last_per_subject(bus.name)) == 1
    await wait_for_answer(lambda: transport.last_per_subject(bus.name), [])


async def test_ensure_creates_once_and_then_finds_nothing_to_do(bus: Bus, transport: Transport) -> None:
    streams, consumers = [bus.stream(max_age_seconds=60, max_bytes=10_000_000)], [bus.consumer()]
    created = await transport.ensure(streams, consumers)
    assert [(drift.found, drift.remedy) for drift in created] == [("missing", "created")] * 2
    assert await transport.ensure(streams, consumers) == []


async def test_ensure_mends_what_drifted_and_says_so(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(max_bytes=1_000_000)], [bus.consumer(ack_wait_seconds=5)])
    await publish(transport, bus, "kept")
    drifts = await transport.ensure([bus.stream(max_bytes=2_000_000)], [bus.consumer(ack_wait_seconds=7)])
    assert [drift.remedy for drift in drifts] == ["updated", "updated"]
    assert "max_bytes" in drifts[0].found
    assert "ack_wait" in drifts[1].found
    await wait_for_answer(lambda: transport.pending(bus.name, "durable"), 1)


async def test_ensure_recreates_what_cannot_be_updated(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream(storage="file")], [bus.consumer()])
    drifts = await transport.ensure([bus.stream(storage="memory")], [bus.consumer()])
    assert [drift.remedy for drift in drifts] == ["recreated", "created"]
    assert await transport.ensure([bus.stream(storage="memory")], [bus.consumer()]) == []


async def test_a_deleted_durable_is_created_again(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [bus.consumer()])
    await publish(transport, bus, "kept")
    for _ in range(2):
        await transport.delete_consumer(bus.name, "durable")
    received = Received()
    async with transport.pull(bus.name, "durable", received) as puller:
        puller.add_credits(1)
        await transport.ensure([bus.stream()], [bus.consumer()])
        await wait_until(lambda: received.data == [b"kept"])


async def test_publishing_where_no_stream_listens_is_an_error(bus: Bus, transport: Transport) -> None:
    with pytest.raises(TransportUnavailable, match="no stream"):
        await publish(transport, bus, "lost")


async def test_the_backlog_of_a_durable_that_is_not_there_is_an_error(bus: Bus, transport: Transport) -> None:
    await transport.ensure([bus.stream()], [])
    with pytest.raises(TransportUnavailable, match="not found"):
        await transport.pending(bus.name, "durable")
