"""A NATS server that accepts a client, and soon sends an error that ends the connection for good."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import SocketAttribute, SocketStream


@asynccontextmanager
async def rejecting() -> AsyncGenerator[str]:
    """Its address."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as server,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.serve, _reject)
        yield f"nats://127.0.0.1:{server.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def _reject(stream: SocketStream) -> None:
    async with stream:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await _greet_and_reject(stream)


async def _greet_and_reject(stream: SocketStream) -> None:
    await stream.send(b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"headers":true}\r\n')
    with anyio.move_on_after(1):
        while data := await stream.receive():
            await stream.send(b"PONG\r\n" * data.count(b"PING\r\n"))
    await stream.send(b"-ERR 'Unknown Protocol Operation'\r\n")
