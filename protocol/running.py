"""How both commands run their coroutine: on uvloop, with a garbage collector that seldom looks."""

import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")

COLLECT_AFTER = (20_000, 10, 10)
"""Allocations before a collection. The default of 700 costs a coordinator some 15 % of its time, as its
state is large, lives long and has no cycles."""


def run_async(function: Callable[..., Awaitable[Result]], *args: object) -> Result:
    """Runs a coroutine function to its end, as the one thing that this process does."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    return anyio.run(function, *args, backend="asyncio", backend_options={"use_uvloop": True})
