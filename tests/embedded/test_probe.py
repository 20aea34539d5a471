"""Telling our servers from whatever else may listen on a port."""

import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from coordinator.embedded import probe

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(answer: Callable[[SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    """A server that answers every connection so; its port."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def close(stream: SocketStream) -> None:
    await stream.aclose()


async def reset(stream: SocketStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def stay_silent(stream: SocketStream) -> None:
    async with stream:
        await anyio.sleep(10)


async def talk_without_end(stream: SocketStream) -> None:
    async with stream:
        await stream.send(b"x" * 70_000)
        await anyio.sleep(10)


async def talk_nonsense(stream: SocketStream) -> None:
    async with stream:
        await stream.send(b'INFO {"server_name": \r\n')


async def be_another_nats(stream: SocketStream) -> None:
    async with stream:
        await stream.send(b'INFO {"server_name": "other", "version": "2.15.1"}\r\n')


async def be_another_redis(stream: SocketStream) -> None:
    async with stream:
        await stream.send(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")


@pytest.mark.parametrize(
    "answer",
    [close, reset, stay_silent, talk_without_end, talk_nonsense, be_another_nats, be_another_redis],
)
async def test_a_stranger_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[SocketStream], Awaitable[None]]
) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    async with listening(answer) as port:
        assert not await probe.is_our_nats(port, "ours")
        assert not await probe.is_our_redis(port, "secret")


async def test_a_port_without_a_server_has_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert not await probe.is_our_nats(port, "ours")
    assert not await probe.is_our_redis(port, "secret")
