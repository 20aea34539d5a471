"""The connection: nats-py for what is rare (connect, sign in, reconnect), our own path for what is hot.

A subscription of nats-py costs a queue, a task and parsed headers per message, and its publish is a
coroutine. Here a handler is called straight from the read loop and `send` is a plain function, which
takes a third of the time. That reaches into nats-py, in this module alone.
"""

# nats-py is only partly typed, and its hot path has no public seam.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

import asyncio
import re
from collections.abc import Callable, Mapping

from protocol.errors import MessageTooLarge, TransportUnavailable
from protocol.transport.jetstream_library import Client, Subscription

RawHandler = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes subject, reply subject, data and the unparsed header block; must return at once."""

PING = b"PING\r\n"
HEADER_LINE = b"NATS/1.0\r\n"
MESSAGE_ID = "Nats-Msg-Id"
_ID_BLOCK = HEADER_LINE + MESSAGE_ID.encode() + b": %b\r\n\r\n"
_UNSAFE_SUBJECT = re.compile(r"\s")


def header_block(headers: Mapping[str, str]) -> bytes:
    """:raises ValueError: when a header holds a line break."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not lines.count("\r") == lines.count("\n") == len(headers):
        raise ValueError("a header must not hold a line break")
    return HEADER_LINE + lines.encode() + b"\r\n"


def message_id_block(message_id: str) -> bytes:
    """The headers of a message that has its id alone. :raises ValueError: when that holds a line break."""
    if not message_id.isprintable():
        raise ValueError("a header must not hold a line break")
    return _ID_BLOCK % message_id.encode()


def parse_headers(block: bytes | None) -> dict[str, str]:
    if not block:
        return {}
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    return {
        name.strip(): value.strip() for name, mark, value in (line.partition(":") for line in lines) if mark
    }


def status_of(block: bytes | None) -> str:
    """The inline status of a header block ("408", …), empty when it has none."""
    return block[9:12].decode("ascii", "replace") if block and block[8:9] == b" " else ""


class HotClient(Client):
    """A nats-py client whose subscriptions and publishes are ours."""

    def __init__(self, max_buffered_bytes: int, report: Callable[[Exception], None]) -> None:
        super().__init__()
        self._handlers: dict[int, RawHandler] = {}
        self._max_buffered_bytes = max_buffered_bytes
        self._report = report
        self._kick: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kick.set_result(None)

    async def close(self) -> None:
        if self._flush_queue is not None:  # else nats-py never began, and its own close would fail
            await super().close()

    def listen(self, subject: str, handler: RawHandler, queue: str = "") -> int:
        """Subscribes, now and after every reconnect; returns the subscription's number."""
        _check(subject)
        self._sid += 1
        self._subs[self._sid] = Subscription(self, self._sid, subject, queue)
        self._handlers[self._sid] = handler
        if self.is_connected:
            self._push(f"SUB {subject} {queue} {self._sid}\r\n".encode())
        return self._sid

    def mute(self, sid: int) -> None:
        """Tells the server that interest has ended; what is under way still reaches the handler."""
        if self._subs.pop(sid, None) is not None and self.is_connected:
            self._push(f"UNSUB {sid}\r\n".encode())

    def forget(self, sid: int) -> None:
        self.mute(sid)
        self._handlers.pop(sid, None)

    def send(self, subject: str, data: bytes, reply: str = "", headers: bytes = b"") -> None:
        """Hands a message to the next flush. During an outage it waits for the reconnect, up to the limit.

        :raises TransportUnavailable: when the connection is closed or too much waits to be sent.
        :raises MessageTooLarge: when the server would refuse the size (and close the connection).
        """
        _check(subject)
        size = len(headers) + len(data)
        if size > self._max_payload:
            raise MessageTooLarge(subject, size, self._max_payload)
        if self.is_closed or self._pending_data_size + size > self._max_buffered_bytes:
            cause = "the connection is closed" if self.is_closed else "too much waits to be sent"
            raise TransportUnavailable(f"sending to {subject}", cause)
        if headers:
            self._push(
                b"HPUB %b %b %d %d\r\n%b%b\r\n"
                % (subject.encode(), reply.encode(), len(headers), size, headers, data)
            )
        else:
            self._push(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, data))

    def ping(self) -> asyncio.Future[bool]:
        """Resolves when the server has handled all that was sent before; never, if the connection breaks."""
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._push(PING)
        return pong

    def _push(self, command: bytes) -> None:
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty() and self.is_connected:
            queue.put_nowait(self._kick)

    async def _flusher(self) -> None:
        # nats-py hands every command to the socket by itself; joined they cost a tenth.
        queue, transport = self._flush_queue, self._transport
        while queue is not None and transport is not None and self.is_connected:
            await queue.get()
            if not self._pending:
                continue
            joined = b"".join(self._pending)
            self._pending, self._pending_data_size = [], 0
            try:
                transport.write(joined)
                await transport.drain()
            except OSError as error:
                await self._error_cb(error)
                await self._process_op_err(error)
                return
            except RuntimeError:
                return

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        # nats-py writes its pings ahead of what waits to be flushed; ours promise the opposite.
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        self._push(PING)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            return
        try:
            handler(subject, reply, data, headers)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is reported, not swallowed
            self._report(error)


def _check(subject: str) -> None:
    if not subject or _UNSAFE_SUBJECT.search(subject):
        raise ValueError(f"{subject!r} is not a subject")
