"""The ways of a simulated process to store and bus. Each call is a place for faults, and leaves a trace."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from hashlib import sha256

import anyio

from blackboard.memory import MemoryStore
from protocol.errors import ReplyTimeout, StoreUnavailable, TransportUnavailable
from protocol.transport.contract import Delivery, Message, Publication
from protocol.transport.memory import MemoryBus, MemoryTransport

Act = str
"""What befalls a call: nothing (empty), fail, timeout (after it was done), slow, kill, kill after."""
Judge = Callable[[str, str], Act]
"""Decides by the process and the place."""
UNANSWERED_SECONDS = 2.0
SLOW_SECONDS = 4.0


@dataclass
class Gate:
    """One process as the world sees it."""

    name: str
    judge: Judge
    trace: Callable[[str, str], None]
    die: Callable[[str], None]
    dead: bool = False
    mute: bool = False
    """Nothing that it says gets through."""
    deaf: bool = False
    """It hears nothing."""
    cut: bool = False
    """It cannot reach the store."""
    context: Context | None = None
    heard: Callable[[str, bytes], None] = field(default=lambda _subject, _data: None)

    async def over(self) -> None:
        """A process that was killed says nothing and waits for its end."""
        await anyio.sleep_forever()

    async def call(self, place: str, do: Callable, unavailable: Callable[[], Exception]) -> object:
        """Calls, unless a fault comes before; a fault may also come after."""
        act = "" if self.dead else self.judge(self.name, place)
        self.trace(self.name, f"{place} {act}".rstrip())
        if act == "kill":
            self.die(self.name)
        if self.dead:
            await self.over()
        if act == "fail":
            await anyio.sleep(0.01)
            raise unavailable()
        if act == "slow":
            await anyio.sleep(SLOW_SECONDS)
        result = await do()
        if act == "kill after":
            self.die(self.name)
        if self.dead:
            await self.over()
        if act == "timeout":
            await anyio.sleep(UNANSWERED_SECONDS)
            raise unavailable()
        return result


class StoreGate:
    """A store seen through a gate."""

    def __init__(self, store: MemoryStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    def __getattr__(self, name: str) -> Callable:
        method = getattr(self._store, name)
        gate = self._gate

        async def call(*arguments: object, **options: object) -> object:
            if gate.cut and not gate.dead:
                gate.trace(gate.name, f"store.{name} cut off")
                await anyio.sleep(1)
                raise StoreUnavailable(name, "cut off")
            return await gate.call(
                f"store.{name}",
                lambda: method(*arguments, **options),
                lambda: StoreUnavailable(name, "a fault"),
            )

        return call


class BusGate:
    """A transport seen through a gate: what it hears is handled by its own process, when that runs."""

    def __init__(self, bus: MemoryBus, gate: Gate) -> None:
        self._inner = MemoryTransport(bus)
        self._gate = gate

    def _out(self, what: str) -> str:
        """Whether something gets out, and as what fault; never when the process is dead or mute."""
        gate = self._gate
        if gate.dead:
            return "fail"
        act = gate.judge(gate.name, what)
        gate.trace(gate.name, f"{what} {act}".rstrip())
        if act.startswith("kill"):
            gate.die(gate.name)
        return "fail" if gate.mute or act in ("kill", "fail") else act

    async def ensure(self, streams: Sequence, consumers: Sequence) -> Sequence:
        return await self._asked("ensure", lambda: self._inner.ensure(streams, consumers))

    async def delete_consumer(self, stream: str, durable: str) -> None:
        await self._asked("delete_consumer", lambda: self._inner.delete_consumer(stream, durable))

    async def pending(self, stream: str, durable: str) -> int:
        return await self._asked("pending", lambda: self._inner.pending(stream, durable))

    async def last_per_subject(self, stream: str) -> Sequence[Message]:
        return await self._asked("last_per_subject", lambda: self._inner.last_per_subject(stream))

    async def _asked(self, what: str, do: Callable) -> object:
        gate = self._gate
        if (gate.mute or gate.deaf) and not gate.dead:
            await anyio.sleep(UNANSWERED_SECONDS)
            raise TransportUnavailable(what, "cut off")
        return await gate.call(f"bus.{what}", do, lambda: TransportUnavailable(what, "a fault"))

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        await self._asked(
            f"publish {_kind(subject)}",
            lambda: self._inner.publish(subject, data, message_id=message_id, headers=headers),
        )

    def publish_all(self, publications: Sequence[Publication], *, done: Callable) -> None:
        act = self._out(f"bus.publish_all {_kind(publications[0].subject)}")
        if act == "fail":
            return
        confirm = self._within(done)
        if act == "timeout":
            lost = TransportUnavailable("publishing", "a fault")
            confirm = lambda _error: self._within(done)(lost)
        self._inner.publish_all(publications, done=confirm)

    def emit(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self._out(f"bus.emit {_kind(subject)}") != "fail":
            self._inner.emit(subject, data, headers)

    async def request(self, subject: str, data: bytes, *, timeout_seconds: float) -> bytes:
        gate = self._gate
        what = f"bus.request {_kind(subject)}"
        if gate.mute and not gate.dead:
            await anyio.sleep(timeout_seconds)
            raise ReplyTimeout(subject, timeout_seconds)
        reply = await gate.call(
            what,
            lambda: self._inner.request(subject, data, timeout_seconds=timeout_seconds),
            lambda: ReplyTimeout(subject, timeout_seconds),
        )
        if gate.deaf:
            raise ReplyTimeout(subject, timeout_seconds)
        return reply

    @asynccontextmanager
    async def subscribe(self, subject: str, handler: Callable[[Message], None], *, queue: str = ""):
        def heard(message: Message) -> None:
            if not self._gate.deaf:
                self._gate.heard(message.subject, message.data)
                handler(_Answered(message, self))

        with self._within(heard) as soon:
            async with self._inner.subscribe(subject, soon, queue=queue):
                yield

    @asynccontextmanager
    async def pull(self, stream: str, durable: str, handler: Callable[[Delivery], None]):
        def heard(delivery: Delivery) -> None:
            if not self._gate.deaf:
                handler(_Settled(delivery, self))

        with self._within(heard) as soon:
            async with self._inner.pull(stream, durable, soon) as puller:
                yield puller

    @contextmanager
    def _within(self, call: Callable) -> Iterator[Callable]:
        """The call, made by this process: later, when it is not paused; never once it is dead or let go."""
        gate, calls = self._gate, [call]

        def run(*arguments: object) -> None:
            if calls and not gate.dead:
                call(*arguments)

        def soon(*arguments: object) -> None:
            asyncio.get_running_loop().call_soon(run, *arguments, context=gate.context)

        try:
            yield soon
        finally:
            calls.clear()


class _Answered:
    """A request whose answer has to get out."""

    def __init__(self, message: Message, gate: BusGate) -> None:
        self._message = message
        self._gate = gate
        self.subject, self.data, self.headers = message.subject, message.data, message.headers

    def reply(self, data: bytes) -> None:
        if self._gate._out(f"bus.reply {_kind(self.subject)}") != "fail":
            self._message.reply(data)


class _Settled:
    """A delivery whose acknowledgement has to get out."""

    def __init__(self, delivery: Delivery, gate: BusGate) -> None:
        self._delivery = delivery
        self._gate = gate
        self.subject, self.data, self.headers = delivery.subject, delivery.data, delivery.headers

    def ack(self) -> None:
        if self._gate._out("bus.ack") != "fail":
            self._delivery.ack()

    def nak(self, delay_seconds: float = 0) -> None:
        if self._gate._out("bus.nak") != "fail":
            self._delivery.nak(delay_seconds)

    def term(self) -> None:
        if self._gate._out("bus.term") != "fail":
            self._delivery.term()


def _kind(subject: str) -> str:
    """`tasks`, `discoveries`, `heartbeat`, `control`, …, or the verb of a board request."""
    words = subject.split(".")
    return words[-1] if words[1] == "board" else words[1]


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:12]
