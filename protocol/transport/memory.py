"""The transport in memory, for simulation and unit tests: one bus, many transports, no threads.

Deterministic: everything happens in one order, given by the calls and by `anyio.current_time`; so it
also runs in virtual time. Handlers are called from `MemoryBus.run`, never from inside a send.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Literal

import anyio

from protocol.errors import NoResponder, ReplyTimeout, TransportUnavailable
from protocol.transport.contract import (
    ConsumerSpec,
    Delivery,
    Drift,
    Message,
    Publication,
    Puller,
    StreamSpec,
)
from protocol.transport.memory_stream import MESSAGE_ID, MemoryConsumer, MemoryStream, Stored, matches


@dataclass(slots=True)
class MemoryMessage:
    subject: str
    data: bytes
    headers: Mapping[str, str]
    answer: Callable[[bytes], None] | None = None

    def reply(self, data: bytes) -> None:
        if self.answer is not None:
            self.answer(data)


@dataclass(slots=True)
class MemoryDelivery:
    """A delivery; `settle` takes None to be done with it, else the delay of a redelivery."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    settle: Callable[[float | None], None]

    def ack(self) -> None:
        self.settle(None)

    def nak(self, delay_seconds: float = 0) -> None:
        self.settle(delay_seconds)

    def term(self) -> None:
        self.settle(None)


@dataclass(slots=True, eq=False)
class MemoryPuller:
    stream: str
    durable: str
    handler: Callable[[Delivery], None]
    wake: Callable[[], None]
    unused: int = 0
    closed: bool = False

    def add_credits(self, count: int) -> None:
        self.unused += count
        self.wake()

    def drop_credits(self) -> int:
        dropped, self.unused = self.unused, 0
        return dropped

    def receive(self, delivery: Delivery) -> None:
        if not self.closed:
            self.handler(delivery)


@dataclass(slots=True, eq=False)
class _Subscription:
    pattern: str
    queue: str
    handler: Callable[[Message], None]
    active: bool = True

    def receive(self, message: Message) -> None:
        if self.active:
            self.handler(message)


class MemoryBus:
    """What the transports share. Its owner runs `run` in a task group for as long as it is used."""

    def __init__(self) -> None:
        self.streams: dict[str, MemoryStream] = {}
        self.pullers: list[MemoryPuller] = []
        self._subscriptions: list[_Subscription] = []
        self._exact: dict[str, list[_Subscription]] = {}
        """Plain subscriptions without wildcards, by subject: there may be one per worker."""
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Calls handlers, and delivers again what was not settled in time, until it is cancelled."""
        while True:
            self._deliver(anyio.current_time())
            if self._calls:
                for _ in range(len(self._calls)):
                    self._calls.popleft()()
                await anyio.lowlevel.checkpoint()
                continue
            with anyio.CancelScope(deadline=self._next_due()):
                await self._changed.wait()
            self._changed = anyio.Event()

    def wake(self) -> None:
        self._changed.set()

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self.wake()

    def send(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        answer: Callable[[bytes], None] | None = None,
    ) -> tuple[bool, bool]:
        """Hands a message to subscribers and streams; says whether there was any of either."""
        chosen = self._subscribers(subject)
        for subscription in chosen:
            message = MemoryMessage(subject, data, headers, answer)
            self.call_soon(lambda to=subscription, message=message: to.receive(message))
        streams = [stream for stream in self.streams.values() if stream.takes(subject)]
        for stream in streams:
            stream.store(subject, data, headers, anyio.current_time())
        self.wake()
        return bool(chosen), bool(streams)

    def add(self, subscription: _Subscription) -> None:
        self._list_of(subscription).append(subscription)

    def remove(self, subscription: _Subscription) -> None:
        subscription.active = False
        self._list_of(subscription).remove(subscription)

    def _list_of(self, subscription: _Subscription) -> list[_Subscription]:
        exact = not subscription.queue and not {"*", ">"}.intersection(subscription.pattern.split("."))
        return self._exact.setdefault(subscription.pattern, []) if exact else self._subscriptions

    def _subscribers(self, subject: str) -> list[_Subscription]:
        """Every plain subscription, and of each queue group the one that waited longest."""
        matching = [one for one in self._subscriptions if matches(one.pattern, subject)]
        groups = {one.queue: one for one in reversed(matching) if one.queue}
        for one in groups.values():
            self._subscriptions.remove(one)
            self._subscriptions.append(one)
        chosen = [one for one in matching if not one.queue or groups[one.queue] is one]
        return [*self._exact.get(subject, ()), *chosen]

    def _deliver(self, now: float) -> None:
        for stream in self.streams.values():
            stream.enforce_limits(now)
        progress = True
        while progress:
            progress = False
            for puller, stream, _ in self._waiting():
                progress |= self._deliver_one(puller, stream, now)

    def _waiting(self) -> list[tuple[MemoryPuller, MemoryStream, MemoryConsumer]]:
        """Pullers with unused credits, where there may be something to deliver now or later."""
        return [
            (puller, stream, consumer)
            for puller in self.pullers
            if puller.unused > 0
            and (stream := self.streams.get(puller.stream))
            and (consumer := stream.consumers.get(puller.durable))
            and (consumer.new or consumer.due)
        ]

    def _deliver_one(self, puller: MemoryPuller, stream: MemoryStream, now: float) -> bool:
        stored = stream.take(puller.durable, now)
        if stored is None:
            return False
        puller.unused -= 1
        self.pullers.remove(puller)
        self.pullers.append(puller)
        delivery = self._delivery(stream, puller.durable, stored)
        self.call_soon(lambda: puller.receive(delivery))
        return True

    def _delivery(self, stream: MemoryStream, durable: str, stored: Stored) -> MemoryDelivery:
        consumer = stream.consumers[durable]

        def settle(delay_seconds: float | None) -> None:
            if delay_seconds is None:
                stream.settle(consumer, stored.sequence)
            elif stored.sequence in consumer.unsettled:
                consumer.schedule(stored.sequence, anyio.current_time() + delay_seconds)
            self.wake()

        return MemoryDelivery(stored.subject, stored.data, stored.headers, settle)

    def _next_due(self) -> float:
        times = [consumer.next_due() for _, _, consumer in self._waiting()]
        return min((due for due in times if due is not None), default=float("inf"))


class MemoryTransport:
    """See the contract."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def ensure(
        self, streams: Sequence[StreamSpec], consumers: Sequence[ConsumerSpec]
    ) -> Sequence[Drift]:
        await anyio.lowlevel.checkpoint()
        found = [self._ensure_stream(spec) for spec in streams]
        found += [self._ensure_consumer(spec) for spec in consumers]
        self._bus.wake()
        return [drift for drift in found if drift is not None]

    async def delete_consumer(self, stream: str, durable: str) -> None:
        await anyio.lowlevel.checkpoint()
        if stream in self._bus.streams:
            self._bus.streams[stream].consumers.pop(durable, None)

    async def pending(self, stream: str, durable: str) -> int:
        await anyio.lowlevel.checkpoint()
        found = self._stream(stream)
        if durable not in found.consumers:
            raise TransportUnavailable(f"reading consumer {stream}/{durable}", "consumer not found")
        return found.pending(durable)

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        _, stored = self._bus.send(subject, data, {**(headers or {}), MESSAGE_ID: message_id})
        await anyio.lowlevel.checkpoint()
        if not stored:
            raise TransportUnavailable(f"publishing to {subject}", "no stream takes it")

    def publish_all(
        self, publications: Sequence[Publication], *, done: Callable[[TransportUnavailable | None], None]
    ) -> None:
        error: TransportUnavailable | None = None
        for subject, data, message_id in publications:
            _, stored = self._bus.send(subject, data, {MESSAGE_ID: message_id})
            error = None if stored else TransportUnavailable(f"publishing to {subject}", "no stream takes it")
        self._bus.call_soon(lambda: done(error))

    def emit(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._bus.send(subject, data, headers or {})

    async def request(self, subject: str, data: bytes, *, timeout_seconds: float) -> bytes:
        replies: list[bytes] = []
        replied = anyio.Event()

        def answer(reply: bytes) -> None:
            replies.append(reply)
            self._bus.call_soon(replied.set)

        served, _ = self._bus.send(subject, data, {}, answer)
        if not served:
            raise NoResponder(subject)
        with anyio.move_on_after(timeout_seconds):
            await replied.wait()
            return replies[0]
        raise ReplyTimeout(subject, timeout_seconds)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, handler: Callable[[Message], None], *, queue: str = ""
    ) -> AsyncGenerator[None]:
        subscription = _Subscription(subject, queue, handler)
        self._bus.add(subscription)
        try:
            yield
        finally:
            self._bus.remove(subscription)

    @asynccontextmanager
    async def pull(
        self, stream: str, durable: str, handler: Callable[[Delivery], None]
    ) -> AsyncGenerator[Puller]:
        puller = MemoryPuller(stream, durable, handler, self._bus.wake)
        self._bus.pullers.append(puller)
        try:
            yield puller
        finally:
            puller.closed = True
            self._bus.pullers.remove(puller)

    async def last_per_subject(self, stream: str) -> Sequence[Message]:
        await anyio.lowlevel.checkpoint()
        found = self._stream(stream)
        found.enforce_limits(anyio.current_time())
        return [MemoryMessage(one.subject, one.data, one.headers) for one in found.last_per_subject()]

    def _stream(self, name: str) -> MemoryStream:
        if name not in self._bus.streams:
            raise TransportUnavailable(f"reading stream {name}", "stream not found")
        return self._bus.streams[name]

    def _ensure_stream(self, spec: StreamSpec) -> Drift | None:
        stream = self._bus.streams.get(spec.name)
        if stream is None:
            self._bus.streams[spec.name] = MemoryStream(spec)
            return Drift(spec.name, "missing", "created")
        if stream.spec == spec:
            return None
        found = _difference(spec, stream.spec)
        remedy: Literal["updated", "recreated"] = "updated"
        if (stream.spec.retention, stream.spec.storage) != (spec.retention, spec.storage):
            self._bus.streams[spec.name] = MemoryStream(spec)
            remedy = "recreated"
        stream.spec = spec
        return Drift(spec.name, found, remedy)

    def _ensure_consumer(self, spec: ConsumerSpec) -> Drift | None:
        name = f"{spec.stream}/{spec.durable}"
        stream = self._stream(spec.stream)
        consumer = stream.consumers.get(spec.durable)
        if consumer is None:
            stream.add_consumer(spec)
            return Drift(name, "missing", "created")
        if consumer.spec == spec:
            return None
        found = _difference(spec, consumer.spec)
        if consumer.spec.filter_subject == spec.filter_subject:
            consumer.spec = spec
            return Drift(name, found, "updated")
        stream.add_consumer(spec)
        return Drift(name, found, "recreated")


def _difference(wanted: StreamSpec | ConsumerSpec, actual: StreamSpec | ConsumerSpec) -> str:
    return ", ".join(
        f"{one.name}={getattr(actual, one.name)!r} instead of {getattr(wanted, one.name)!r}"
        for one in fields(wanted)
        if getattr(actual, one.name) != getattr(wanted, one.name)
    )
