"""Both transports behind one fixture, each test with subjects of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import pytest

from protocol.transport.contract import ConsumerSpec, Delivery, Message, Puller, StreamSpec, Transport
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from protocol.transport.jetstream_pull import PullTiming
from protocol.transport.memory import MemoryBus, MemoryTransport
from tests.support.servers import NatsServer


def settings_for(server: NatsServer, **changes: object) -> JetStreamSettings:
    defaults = {
        "servers": (server.address,),
        "user": server.user,
        "password": server.password,
        "request_timeout_seconds": 2.0,
        "publish_timeout_seconds": 2.0,
        "reconnect_wait_seconds": 0.05,
        "pulls": PullTiming(expiry_seconds=2.0, heartbeat_seconds=0.5),
    }
    return JetStreamSettings(**{**defaults, **changes})


@dataclass
class Bus:
    """A bus of either kind, with one stream and one durable that belong to the test."""

    open: Callable[[], AbstractAsyncContextManager[Transport]]
    name: str = field(default_factory=lambda: f"t{uuid4().hex[:12]}")

    @property
    def subject(self) -> str:
        return f"{self.name}.work"

    def stream(self, **changes: object) -> StreamSpec:
        return StreamSpec(**{"name": self.name, "subjects": (f"{self.name}.>",), **changes})

    def consumer(self, **changes: object) -> ConsumerSpec:
        defaults = {"stream": self.name, "durable": "durable", "filter_subject": f"{self.name}.>"}
        return ConsumerSpec(**{**defaults, **changes})


@pytest.fixture(params=["jetstream", "memory"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "jetstream":
        server: NatsServer = request.getfixturevalue("nats_server")
        yield Bus(lambda: JetStreamTransport(settings_for(server)))
        return
    memory = MemoryBus()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(memory.run)
        yield Bus(lambda: nullcontext(MemoryTransport(memory)))
        tasks.cancel_scope.cancel()


@pytest.fixture
async def transport(bus: Bus) -> AsyncIterator[Transport]:
    async with bus.open() as opened:
        yield opened


class Received:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    def __len__(self) -> int:
        return len(self.deliveries)

    @property
    def data(self) -> list[bytes]:
        return [delivery.data for delivery in self.deliveries]


class Messages:
    """The same for core messages."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.messages: list[Message] = []
        self.answer = answer

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        if self.answer is not None:
            message.reply(self.answer)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass
class Worker:
    """Pulls from the test's durable and keeps what it gets."""

    received: Received
    puller: Puller


class Workers:
    """Several pullers on one durable, for the length of the context."""

    def __init__(self, transport: Transport, bus: Bus, count: int) -> None:
        self._opened = AsyncExitStack()
        self._transport = transport
        self._bus = bus
        self._count = count

    async def __aenter__(self) -> list[Worker]:
        workers: list[Worker] = []
        for _ in range(self._count):
            received = Received()
            pull = self._transport.pull(self._bus.name, "durable", received)
            workers.append(Worker(received, await self._opened.enter_async_context(pull)))
        return workers

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()
