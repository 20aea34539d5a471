"""What every transport promises about core subjects: requests, queue groups, wildcards."""

from contextlib import AsyncExitStack

import anyio
import pytest

from protocol.errors import NoResponder, ReplyTimeout
from protocol.transport.contract import Transport
from tests.support.waiting import wait_until
from tests.transport.conftest import Bus, Messages

pytestmark = pytest.mark.anyio


async def test_a_request_is_answered_over_another_connection(bus: Bus, transport: Transport) -> None:
    async with bus.open() as other, other.subscribe(bus.subject, Messages(b"pong")):
        assert await transport.request(bus.subject, b"ping", timeout_seconds=2) == b"pong"


async def test_many_requests_at_once_get_their_own_replies(bus: Bus, transport: Transport) -> None:
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answers[number] = await transport.request(bus.subject, str(number).encode(), timeout_seconds=5)

    echo = transport.subscribe(bus.subject, lambda message: message.reply(message.data))
    async with echo, anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(ask, number)
    assert answers == {number: str(number).encode() for number in range(200)}


async def test_a_request_that_nobody_serves_fails_at_once(bus: Bus, transport: Transport) -> None:
    with anyio.fail_after(2), pytest.raises(NoResponder):
        await transport.request(bus.subject, b"ping", timeout_seconds=30)


async def test_a_request_whose_reply_does_not_come_times_out(bus: Bus, transport: Transport) -> None:
    async with transport.subscribe(bus.subject, Messages()):
        with anyio.fail_after(2), pytest.raises(ReplyTimeout):
            await transport.request(bus.subject, b"ping", timeout_seconds=0.1)


async def test_a_reply_may_come_later_than_the_handler(bus: Bus, transport: Transport) -> None:
    inbox = Messages()
    async with transport.subscribe(bus.subject, inbox), anyio.create_task_group() as tasks:

        async def answer_later() -> None:
            await wait_until(lambda: len(inbox) == 1)
            inbox.messages[0].reply(b"done")

        tasks.start_soon(answer_later)
        assert await transport.request(bus.subject, b"", timeout_seconds=5) == b"done"


async def test_a_message_to_which_nobody_waits_for_a_reply_can_be_replied_to(
    bus: Bus, transport: Transport
) -> None:
    inbox = Messages(b"for nobody")
    async with transport.subscribe(bus.subject, inbox):
        transport.emit(bus.subject, b"beat", {"a": "1"})
        await wait_until(lambda: len(inbox) == 1)
    assert inbox.messages[0].headers == {"a": "1"}


async def test_every_plain_subscriber_hears_and_one_of_each_queue_group(
    bus: Bus, transport: Transport
) -> None:
    plain, red, blue = [Messages(), Messages()], [Messages(), Messages()], [Messages(), Messages()]
    async with AsyncExitStack() as opened:
        for queue, members in (("", plain), ("red", red), ("blue", blue)):
            for member in members:
                await opened.enter_async_context(transport.subscribe(bus.subject, member, queue=queue))
        for number in range(50):
            transport.emit(bus.subject, str(number).encode())
        await wait_until(lambda: sum(map(len, red)) == 50 and sum(map(len, blue)) == 50)
        await wait_until(lambda: [len(one) for one in plain] == [50, 50])
        assert all(len(one) > 0 for one in (*red, *blue))


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("a.b", {"a.b"}),
        ("a.*", {"a.b", "a.c"}),
        ("*.b.*", {"a.b.c"}),
        ("a.>", {"a.b", "a.c", "a.b.c"}),
        (">", {"a", "a.b", "a.c", "a.b.c"}),
    ],
)
async def test_wildcards(bus: Bus, transport: Transport, pattern: str, heard: set[str]) -> None:
    inbox, end = Messages(), Messages()
    prefix = bus.name
    async with transport.subscribe(f"{prefix}.{pattern}", inbox), transport.subscribe(f"end-{prefix}", end):
        for subject in ("a", "a.b", "a.c", "a.b.c"):
            transport.emit(f"{prefix}.{subject}", b"")
        transport.emit(f"end-{prefix}", b"")
        await wait_until(lambda: len(end) == 1 and len(inbox) == len(heard))
    assert {message.subject.removeprefix(f"{prefix}.") for message in inbox.messages} == heard


async def test_an_ended_subscription_hears_nothing(bus: Bus, transport: Transport) -> None:
    before, after = Messages(), Messages()
    async with transport.subscribe(bus.subject, before):
        pass
    async with transport.subscribe(bus.subject, after):
        transport.emit(bus.subject, b"")
        await wait_until(lambda: len(after) == 1)
    assert len(before) == 0
