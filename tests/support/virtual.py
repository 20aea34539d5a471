"""Virtual time: an event loop that never waits, but moves its clock to the next timer."""

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import TypeVar

import anyio

Result = TypeVar("Result")

ROUNDS_LIMIT = 1_000_000
"""Rounds of the loop at one instant: more, and tasks wake each other for ever."""


class Livelock(AssertionError):
    """Tasks wake each other without end while the clock stands still."""


class _Selector(selectors.SelectSelector):
    """Reports what is ready, and instead of waiting moves the clock."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: nothing is ready and no timer is set")
            self._wait(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 1,000 s and passes only when nothing is ready.

    No timer fires before its time. Real loops let those of the next nanosecond go as well; but whoever then
    sleeps for the rest of it is ready again before the clock has moved, and two of them can stop it for ever.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        self._rounds = 0
        super().__init__(_Selector(self._wait))

    def time(self) -> float:
        return self._now

    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self._now)

    @_clock_resolution.setter
    def _clock_resolution(self, _real: float) -> None:
        """Nothing: the base class sets that of the real clock."""

    def stand_still(self, seconds: float) -> None:
        """As a stopped process does: what came meanwhile is found together afterwards."""
        self._now += seconds

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._now = max(math.nextafter(self._now, math.inf), self._now + seconds)
            self._rounds = 0

    def _run_once(self) -> None:
        super()._run_once()
        self._rounds += 1
        if self._rounds > ROUNDS_LIMIT:
            self._rounds = 0  # the loop runs on, to cancel what is left
            raise Livelock(f"the clock stands still at {self._now:g} s; ready are:\n{self._described()}")

    def _described(self) -> str:
        """Where the tasks stand that wait for nothing."""
        awake = (task for task in asyncio.all_tasks(self) if task._fut_waiter is None)
        return "\n".join([f"{task.get_name()}: {_stack(task.get_coro())}" for task in awake][:10])


def _stack(coroutine: object) -> str:
    """Where a coroutine and all that it awaits stand."""
    places: list[str] = []
    while isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
        places.append(f"{coroutine.cr_code.co_qualname}:{coroutine.cr_frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(places)


def run_virtually(function: Callable[[], Awaitable[Result]]) -> Result:
    """Runs a coroutine function to its end in virtual time."""
    return anyio.run(function, backend_options={"loop_factory": VirtualLoop})
