"""Virtual time: an event loop that never waits, but moves its clock to the next timer."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    """Reports what is ready, and instead of waiting adds the timeout to the loop's time."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is ready and no timer is set")
            self.elapsed += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 1,000 s and passes only when nothing is ready."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return 1000.0 + self._virtual.elapsed


def run_virtually(function: Callable[[], Awaitable[Result]]) -> Result:
    """Runs a coroutine function to its end in virtual time."""
    return anyio.run(function, backend_options={"loop_factory": VirtualLoop})
