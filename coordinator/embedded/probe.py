"""Asks a port which server answers there, in the few bytes that this takes, without a client library."""

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from protocol.messages import Record

PROBE_SECONDS = 2.0
HOST = "127.0.0.1"
NO_ANSWER = (
    OSError,
    TimeoutError,
    anyio.BrokenResourceError,
    anyio.DelimiterNotFound,
    anyio.EndOfStream,
    anyio.IncompleteRead,
)


class Introduction(Record):
    """What a nats-server says first, to everybody."""

    server_name: str = ""
    version: str = ""
    jetstream: bool = False


async def introduction(host: str, port: int) -> Introduction | None:
    """What the nats-server at this address says of itself; None where none answers."""
    try:
        with anyio.fail_after(PROBE_SECONDS):
            async with await anyio.connect_tcp(host, port) as stream:
                word, _, body = (await _line(stream)).partition(b" ")
        return Introduction.model_validate_json(body) if word == b"INFO" else None
    except (*NO_ANSWER, ValueError):
        return None


async def is_our_nats(port: int, instance: str) -> bool:
    """Whether the nats-server of this instance answers: it introduces itself by the instance's id."""
    found = await introduction(HOST, port)
    return found is not None and found.server_name == instance


async def is_our_redis(port: int, password: str) -> bool:
    """Whether this instance's redis-server answers and has loaded its data: only it takes the password."""
    try:
        with anyio.fail_after(PROBE_SECONDS):
            async with await anyio.connect_tcp(HOST, port) as stream:
                await stream.send(f"AUTH {password}\r\n".encode())
                if await _line(stream) != b"+OK":
                    return False
                await stream.send(b"PING\r\n")
                return await _line(stream) == b"+PONG"
    except NO_ANSWER:
        return False


async def _line(stream: SocketStream) -> bytes:
    return await BufferedByteReceiveStream(stream).receive_until(b"\r\n", 65_536)
