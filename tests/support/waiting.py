"""Waiting on a condition instead of sleeping."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Answer = TypeVar("Answer")
POLL_SECONDS = 0.005


async def wait_until(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails with its place when it never does."""
    with anyio.move_on_after(timeout_seconds):
        while not condition():
            await anyio.sleep(POLL_SECONDS)
        return
    code = condition.__code__
    raise AssertionError(f"not so in {timeout_seconds:g} s: {code.co_filename}:{code.co_firstlineno}")


async def wait_for_answer(
    ask: Callable[[], Awaitable[Answer]], wanted: Answer, timeout_seconds: float = 10.0
) -> None:
    """Asks again until the answer is the wanted one; fails with the last answer."""
    answer = await ask()
    with anyio.move_on_after(timeout_seconds):
        while answer != wanted:
            await anyio.sleep(POLL_SECONDS)
            answer = await ask()
        return
    raise AssertionError(f"still {answer!r} after {timeout_seconds:g} s, not {wanted!r}")
