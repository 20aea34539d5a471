"""The transport on NATS JetStream: one connection that never gives up, and says so when it must."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import anyio
from anyio import AsyncContextManagerMixin

from protocol.errors import MessageTooLarge, NoResponder, ReplyTimeout, TransportUnavailable
from protocol.transport.contract import (
    ConsumerSpec,
    Delivery,
    Drift,
    Message,
    Publication,
    Puller,
    StreamSpec,
)
from protocol.transport.jetstream_client import MESSAGE_ID, HotClient, header_block, message_id_block
from protocol.transport.jetstream_library import errors
from protocol.transport.jetstream_messages import CoreMessage
from protocol.transport.jetstream_pull import JetStreamPuller, PullTiming
from protocol.transport.jetstream_replies import Answer, Replies
from protocol.transport.jetstream_topology import Topology

DENIED_PUBLISH = 'permissions violation for publish to "'
PARALLEL_READS = 64
STOP_SECONDS = 0.1
CLOSE_SECONDS = 2.0


def ignore(_what: object) -> None:
    """The default of callbacks."""


@dataclass(frozen=True, slots=True)
class JetStreamSettings:
    """How to reach the bus, and how long to wait for it."""

    servers: tuple[str, ...]
    name: str = "swarmboard"
    """Shown in the server's monitoring."""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    inbox_prefix: str = "_INBOX"
    """Replies and pulls arrive below it; permissions of a worker name its own."""
    connect_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 5.0
    """For calls of the JetStream API; other requests bring their own."""
    publish_timeout_seconds: float = 5.0
    ping_interval_seconds: int = 10
    """A dead connection is noticed after two unanswered pings: well within the silence limit of 90 s."""
    reconnect_wait_seconds: float = 0.25
    max_publishes: int = 4096
    """Publishes that may be under way; the next one waits for its turn."""
    max_buffered_bytes: int = 32 * 1024 * 1024
    """What may wait to be sent, for instance during an outage."""
    pulls: PullTiming = field(default_factory=PullTiming)


class JetStreamTransport(AsyncContextManagerMixin):
    """See the contract. Open it with `async with`.

    `on_error` hears of everything that no caller waits for: refused publishes and subscriptions, lost
    connections, handlers that raise. `on_closed` is called with the cause when the connection is closed
    for good without our asking; the process should end then.
    """

    def __init__(
        self,
        settings: JetStreamSettings,
        *,
        on_error: Callable[[Exception], None] = ignore,
        on_closed: Callable[[str], None] = ignore,
    ) -> None:
        self._settings = settings
        self._on_error = on_error
        self._on_closed = on_closed
        self._closing = False
        self._pullers: set[JetStreamPuller] = set()
        self._publishing = asyncio.Semaphore(settings.max_publishes)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self._client = HotClient(self._settings.max_buffered_bytes, self._on_error)
        self._replies = Replies(self._client, f"{self._settings.inbox_prefix}.{secrets.token_hex(8)}")
        self._topology = Topology(self._api)
        try:
            await self._connect()
            self._replies.listen()
            yield self
            await self._send_the_rest()
        finally:
            self._closing = True
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._client.close()

    async def ensure(
        self, streams: Sequence[StreamSpec], consumers: Sequence[ConsumerSpec]
    ) -> Sequence[Drift]:
        found = [await self._topology.ensure_stream(spec) for spec in streams]
        found += [await self._topology.ensure_consumer(spec) for spec in consumers]
        return [drift for drift in found if drift is not None]

    async def delete_consumer(self, stream: str, durable: str) -> None:
        await self._topology.delete_consumer(stream, durable)

    async def pending(self, stream: str, durable: str) -> int:
        return await self._topology.pending(stream, durable)

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        confirmed: asyncio.Future[TransportUnavailable | None] = asyncio.get_running_loop().create_future()

        def done(error: TransportUnavailable | None) -> None:
            if not confirmed.done():
                confirmed.set_result(error)

        async with self._publishing:
            block = header_block({**(headers or {}), MESSAGE_ID: message_id})
            self._publish(subject, data, block, done)
            error = await confirmed
        if error is not None:
            raise error

    def publish_all(
        self, publications: Sequence[Publication], *, done: Callable[[TransportUnavailable | None], None]
    ) -> None:
        *others, last = publications
        try:
            for subject, data, message_id in others:
                self._client.send(subject, data, headers=message_id_block(message_id))
        except TransportUnavailable as error:
            done(error)
            return
        self._publish(last.subject, last.data, message_id_block(last.message_id), done)

    def _publish(
        self, subject: str, data: bytes, block: bytes, done: Callable[[TransportUnavailable | None], None]
    ) -> None:
        seconds = self._settings.publish_timeout_seconds

        def answered(answer: Answer) -> None:
            done(_publish_error(subject, answer, seconds))

        try:
            self._replies.expect(subject, data, block, seconds, answered)
        except TransportUnavailable as error:
            done(error)

    def emit(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._send(subject, data, header_block(headers) if headers else b"")

    async def request(self, subject: str, data: bytes, *, timeout_seconds: float) -> bytes:
        return await self._replies.ask(subject, data, b"", timeout_seconds)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, handler: Callable[[Message], None], *, queue: str = ""
    ) -> AsyncGenerator[None]:
        def receive(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            handler(CoreMessage(subject.decode(), data, headers, reply.decode(), self._send))

        sid = self._client.listen(subject, receive, queue)
        try:
            await self._flush()
            yield
        finally:
            self._client.forget(sid)

    @asynccontextmanager
    async def pull(
        self, stream: str, durable: str, handler: Callable[[Delivery], None]
    ) -> AsyncGenerator[Puller]:
        puller = JetStreamPuller(
            self._client,
            (stream, durable),
            handler,
            self._settings.inbox_prefix,
            self._settings.pulls,
            self._send,
            self._on_error,
        )
        self._pullers.add(puller)
        try:
            yield puller
        finally:
            self._pullers.discard(puller)
            puller.close()

    async def last_per_subject(self, stream: str) -> Sequence[Message]:
        limit = asyncio.Semaphore(PARALLEL_READS)

        async def read(subject: str) -> Message | None:
            async with limit:
                found = await self._topology.call(
                    f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, missing_ok=True
                )
            return None if found is None else _stored(found["message"], self._send)

        subjects = await self._topology.subjects(stream)
        messages = await asyncio.gather(*(read(subject) for subject in subjects))
        return [message for message in messages if message is not None]

    def _send(self, subject: str, data: bytes, headers: bytes = b"") -> None:
        try:
            self._client.send(subject, data, headers=headers)
        except (TransportUnavailable, MessageTooLarge) as error:
            self._on_error(error)

    async def _connect(self) -> None:
        settings = self._settings
        attempt = asyncio.ensure_future(
            self._client.connect(
                servers=list(settings.servers),
                name=settings.name,
                user=settings.user or None,
                password=settings.password or None,
                token=settings.token or None,
                inbox_prefix=settings.inbox_prefix,
                ping_interval=settings.ping_interval_seconds,
                max_outstanding_pings=2,
                reconnect_time_wait=settings.reconnect_wait_seconds,  # pyright: ignore[reportArgumentType]
                max_reconnect_attempts=-1,
                error_cb=self._errored,
                reconnected_cb=self._reconnected,
                closed_cb=self._closed,
            )
        )
        try:
            await asyncio.wait({attempt}, timeout=settings.connect_timeout_seconds)
            if not attempt.done():
                raise TimeoutError
            attempt.result()
        except (OSError, errors.Error, TimeoutError) as error:
            cause = self._client.last_error or error
            raise TransportUnavailable(f"connecting to {_shown(settings.servers)}", _text(cause)) from error
        finally:
            await _stopped(attempt)

    async def _api(self, subject: str, body: bytes) -> bytes:
        return await self._replies.ask(subject, body, b"", self._settings.request_timeout_seconds)

    async def _flush(self) -> None:
        """:raises TransportUnavailable: when the server does not confirm what was sent so far in time."""
        done, _ = await asyncio.wait({self._client.ping()}, timeout=self._settings.request_timeout_seconds)
        if not done:
            seconds = self._settings.request_timeout_seconds
            raise TransportUnavailable("flushing", f"not confirmed in {seconds:g} s")

    async def _send_the_rest(self) -> None:
        if not self._client.is_closed:
            try:
                await self._flush()
            except TransportUnavailable as error:
                self._on_error(error)

    async def _errored(self, error: Exception) -> None:
        text = str(error)
        if DENIED_PUBLISH in text:
            self._replies.deny(text.partition(DENIED_PUBLISH)[2].partition('"')[0], "permission denied")
        self._on_error(TransportUnavailable("the connection", _text(error)))

    async def _reconnected(self) -> None:
        for puller in tuple(self._pullers):
            puller.on_reconnect()

    async def _closed(self) -> None:
        cause = _text(self._client.last_error or "closed")
        self._replies.fail_all(f"the connection was closed: {cause}")
        if not self._closing:
            self._on_closed(f"NATS closed the connection for good: {cause}")


def _publish_error(subject: str, answer: Answer, timeout_seconds: float) -> TransportUnavailable | None:
    """What the answer to a publish means; None where it confirms it."""
    match answer:
        case NoResponder():
            return TransportUnavailable(f"publishing to {subject}", "no stream takes it")
        case ReplyTimeout():
            return TransportUnavailable(f"publishing to {subject}", f"not confirmed in {timeout_seconds:g} s")
        case TransportUnavailable():
            return answer
        case _ if b'"error"' in answer:
            cause = json.loads(answer)["error"].get("description", "refused")
            return TransportUnavailable(f"publishing to {subject}", cause)
        case _:
            return None


def _text(error: object) -> str:
    return str(error) or type(error).__name__


async def _stopped(attempt: asyncio.Future[None]) -> None:
    """Stops the client. It is told again and again: where it is told just as a server has refused it, it
    takes the refusal for the answer, and goes on trying for ever.
    """
    with anyio.CancelScope(shield=True):
        while not attempt.done():
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=STOP_SECONDS)


def _shown(servers: Sequence[str]) -> str:
    """Addresses without credentials."""
    return ", ".join(server.rpartition("@")[2] for server in servers)


def _stored(message: Mapping[str, str], send: Callable[[str, bytes], None]) -> CoreMessage:
    headers, data = (base64.b64decode(message.get(part, "")) for part in ("hdrs", "data"))
    return CoreMessage(message["subject"], data, headers, "", send)
