"""Helpers for tests of the embedded servers."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from coordinator.embedded.instance import Instance


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


async def redis_command(instance: Instance, command: str) -> str:
    """One command as a person would type it; the raw reply."""
    async with await anyio.connect_tcp("127.0.0.1", port_of(instance.connection.redis.url)) as stream:
        await stream.send(f"AUTH {instance.connection.redis.password}\r\n".encode())
        assert await stream.receive() == b"+OK\r\n"
        await stream.send(f"{command}\r\n".encode())
        return (await stream.receive()).decode().strip()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped counts as ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(") ")[2].startswith("Z")


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
