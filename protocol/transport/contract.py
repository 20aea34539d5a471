"""The transport contract. Delivery is at least once, in any order; correctness never depends on more.

Handlers are plain functions that must return at once: they hand the message to somebody's inbox.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from protocol.errors import TransportUnavailable


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A JetStream stream as it must be. Ages in seconds, 0 for no limit."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"] = "limits"
    storage: Literal["file", "memory"] = "file"
    max_age_seconds: float = 0
    max_bytes: int = -1
    max_msgs_per_subject: int = -1
    duplicate_window_seconds: float = 120


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer as it must be: MaxDeliver -1, MaxAckPending -1."""

    stream: str
    durable: str
    filter_subject: str
    ack_wait_seconds: float = 30


@dataclass(frozen=True, slots=True)
class Drift:
    """What `ensure` found different from what was asked, and what it did about it."""

    name: str
    found: str
    remedy: Literal["created", "updated", "recreated"]


class Publication(NamedTuple):
    """A message for a stream; its id tells a repetition from another message."""

    subject: str
    data: bytes
    message_id: str


class Delivery(Protocol):
    """A message from a durable consumer. Settling it is a hint, sent without waiting."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def ack(self) -> None: ...
    def nak(self, delay_seconds: float = 0) -> None: ...
    def term(self) -> None: ...


class Message(Protocol):
    """A core message: a request if somebody waits for a reply."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def reply(self, data: bytes) -> None:
        """Sends the reply without waiting; does nothing where nobody asked."""
        ...


class Puller(Protocol):
    """A credit-based pull on one durable: never more unanswered deliveries asked for than credits given."""

    def add_credits(self, count: int) -> None:
        """Asks for `count` more deliveries. Lost pulls (reconnect, expiry) are asked for again by itself."""
        ...

    def drop_credits(self) -> int:
        """Takes back every unused credit and returns how many; a delivery under way may still come."""
        ...


class Transport(Protocol):
    """One connection to the bus.

    :raises TransportUnavailable: from every coroutine, when the bus does not answer in time.
    """

    async def ensure(
        self, streams: Sequence[StreamSpec], consumers: Sequence[ConsumerSpec]
    ) -> Sequence[Drift]:
        """Creates what is missing, reads back, mends what drifted, and recreates what is orphaned."""
        ...

    async def delete_consumer(self, stream: str, durable: str) -> None:
        """Deletes a durable; one that is not there is no error."""
        ...

    async def pending(self, stream: str, durable: str) -> int:
        """The backlog of a durable: not yet delivered, plus delivered and not settled.

        The count follows what was published or settled with a short delay.
        """
        ...

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Publishes into a stream and returns when the bus confirmed it. Many may be under way at once."""
        ...

    def publish_all(
        self, publications: Sequence[Publication], *, done: Callable[[TransportUnavailable | None], None]
    ) -> None:
        """As `publish`, for many and without a task: `done` is called once, with None when the bus has
        confirmed the last. It stores what one connection sends in order, so that stands for all, unless
        the connection broke in between.

        Whoever calls bounds how many are under way. `done` may be called before this returns.
        """
        ...

    def emit(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publishes without waiting and without any promise."""
        ...

    async def request(self, subject: str, data: bytes, *, timeout_seconds: float) -> bytes:
        """:raises NoResponder: at once when nobody serves the subject.
        :raises ReplyTimeout: when no reply came in time.
        """
        ...

    def subscribe(
        self, subject: str, handler: Callable[[Message], None], *, queue: str = ""
    ) -> AbstractAsyncContextManager[None]:
        """Core subscription for the length of the context; `queue` shares it in a group."""
        ...

    def pull(
        self, stream: str, durable: str, handler: Callable[[Delivery], None]
    ) -> AbstractAsyncContextManager[Puller]:
        """Pulls from a durable for the length of the context; starts with no credits."""
        ...

    async def last_per_subject(self, stream: str) -> Sequence[Message]:
        """The newest stored message of every subject of a stream (for heartbeats)."""
        ...
