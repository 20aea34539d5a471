"""Asks a port which server answers there, in the few bytes that this takes, without a client library."""

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from protocol.messages import Record

PROBE_SECONDS = 2.0
HOST = "127.0.0.1"
NO_ANSWER = (OSError, TimeoutError, anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound)


class _Introduction(Record):
    """What a nats-server says first."""

    server_name: str = ""


async def is_our_nats(port: int, instance: str) -> bool:
    """Whether the nats-server of this instance answers: it introduces itself by the instance's id."""
    try:
        with anyio.fail_after(PROBE_SECONDS):
            async with await anyio.connect_tcp(HOST, port) as stream:
                word, _, body = (await _line(stream)).partition(b" ")
        return word == b"INFO" and _Introduction.model_validate_json(body).server_name == instance
    except (*NO_ANSWER, ValueError):
        return False


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
