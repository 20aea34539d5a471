"""Virtual time: an event loop that never waits, but moves its clock to the next timer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from heapq import heappop
from types import CoroutineType
from typing import TypeVar
from unittest.mock import patch

import anyio
from anyio._core import _eventloop

Result = TypeVar("Result")

ROUNDS_LIMIT = 1_000_000
"""Rounds of the loop at one instant: more, and tasks wake each other for ever."""


class Livelock(AssertionError):
    """Tasks wake each other without end while the clock stands still."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 1,000 s and passes only when nothing is ready. Sockets are not looked at.

    No timer fires before its time. Real loops let those of the next nanosecond go as well; but whoever then
    sleeps for the rest of it is ready again before the clock has moved, and two of them can stop it for ever.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        self._rounds = 0
        super().__init__()

    def time(self) -> float:
        return self._now

    def stand_still(self, seconds: float) -> None:
        """As a stopped process does: what came meanwhile is found together afterwards."""
        self._now += seconds

    def _run_once(self) -> None:
        """The base class's round, in as few steps as there is work: most of a long test is idle time."""
        ready, timers = self._ready, self._scheduled
        if not ready and not self._stopping:
            self._pass_time(timers)
        while timers and (timers[0]._cancelled or timers[0]._when <= self._now):
            self._take(heappop(timers))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        self._rounds += 1
        if self._rounds > ROUNDS_LIMIT:
            self._rounds = 0  # the loop runs on, to cancel what is left
            raise Livelock(f"the clock stands still at {self._now:g} s; ready are:\n{self._described()}")

    def _pass_time(self, timers: list[asyncio.TimerHandle]) -> None:
        while timers and timers[0]._cancelled:
            self._take(heappop(timers))
        if not timers:
            raise RuntimeError("deadlock: nothing is ready and no timer is set")
        if timers[0]._when > self._now:
            self._now = timers[0]._when
            self._rounds = 0

    def _take(self, timer: asyncio.TimerHandle) -> None:
        timer._scheduled = False
        if timer._cancelled:
            self._timer_cancelled_count -= 1
        else:
            self._ready.append(timer)

    def _write_to_self(self) -> None:
        """Nothing: a loop that never waits needs no waking."""

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


@contextmanager
def asyncio_alone() -> Iterator[None]:
    """Spares anyio to find out, at each of its calls, which library runs the loop."""
    with patch.object(_eventloop, "current_async_library", lambda: "asyncio"):
        yield


def run_virtually(function: Callable[[], Awaitable[Result]]) -> Result:
    """Runs a coroutine function to its end in virtual time."""

    async def main() -> Result:
        with asyncio_alone():
            return await function()

    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})
