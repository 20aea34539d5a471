"""A loop in virtual time whose every choice follows from a seed: which ready callback is next.

Callbacks belong to simulated processes, by a context variable that tasks hand on. So a process can be paused
as by SIGSTOP (its callbacks and timers wait until it goes on), and stopped at any of its awaits.
"""

import asyncio
import gc
import random
from collections import deque
from collections.abc import Callable, Iterator, MutableSet
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TypeVar
from unittest.mock import patch

import anyio
from anyio._backends import _asyncio as backend

from coordinator import elections
from tests.support.virtual import VirtualLoop, asyncio_alone

Item = TypeVar("Item")
PROCESS: ContextVar[str] = ContextVar("simulated process", default="")


class InsertionOrdered(MutableSet[Item]):
    """A set that is walked in the order of insertion, whatever the addresses of its members are."""

    def __init__(self, items: object = ()) -> None:
        self._items: dict = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Item) -> None:
        self._items[value] = None

    def discard(self, value: Item) -> None:
        self._items.pop(value, None)


class _Ready(deque):
    """Hands out callbacks in a seeded order, and keeps aside those of paused processes."""

    def __init__(self, chance: random.Random | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.chance = chance
        self.steps = 0
        self.paused: dict[str, list[asyncio.Handle]] = {}
        self.at_step: dict[str, tuple[int, Callable[[], None]]] = {}
        self._nothing = asyncio.Handle(lambda: None, (), loop)
        self._nothing.cancel()

    def popleft(self) -> asyncio.Handle:
        if self.chance is not None and len(self) > 1:
            other = int(self.chance.random() * len(self))
            self[0], self[other] = self[other], self[0]
        handle = super().popleft()
        if self.paused or self.at_step:
            process = handle._context.get(PROCESS, "") if handle._context is not None else ""
            if process in self.paused:
                self.paused[process].append(handle)
                return self._nothing
            if process in self.at_step:
                self._count_down(process)
        self.steps += 1
        return handle

    def _count_down(self, process: str) -> None:
        left, act = self.at_step[process]
        self.at_step[process] = left - 1, act
        if left <= 0:
            del self.at_step[process]
            act()


class SeededLoop(VirtualLoop):
    """Without a seed, first come first served."""

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        self._ready = _Ready(None if seed is None else random.Random(seed), self)
        self.failures: list[str] = []
        self.set_exception_handler(self._fail)

    @property
    def steps(self) -> int:
        """Callbacks that have run."""
        return self._ready.steps

    def pause(self, process: str) -> None:
        self._ready.paused.setdefault(process, [])

    def go_on(self, process: str) -> None:
        self._ready.extend(self._ready.paused.pop(process, ()))

    def after_steps(self, process: str, steps: int, act: Callable[[], None]) -> None:
        """Acts before the process' so many-th callback from now: between any two of its awaits."""
        self._ready.at_step[process] = steps, act

    def run_in_executor(self, executor, func, *args):
        raise RuntimeError(f"a simulation has no threads, and {func} asks for one")

    def _fail(self, _loop: asyncio.AbstractEventLoop, context: dict) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")


@contextmanager
def insertion_ordered() -> Iterator[None]:
    """Scopes and tasks, which anyio keeps in sets by address, are cancelled in the same order in each run."""
    backend.set = InsertionOrdered
    try:
        yield
    finally:
        del backend.set


@contextmanager
def memory_at_rest() -> Iterator[None]:
    """No collection of garbage: a leader would search all memory, for a tenth of a seed's time."""
    gc.disable()
    try:
        with patch.object(elections, "gc", SimpleNamespace(unfreeze=bool, collect=bool, freeze=bool)):
            yield
    finally:
        gc.unfreeze()
        gc.enable()


def run_seeded(function: Callable, seed: int | None) -> object:
    """Runs a coroutine function of the loop to its end."""
    loops: list[SeededLoop] = []

    def factory() -> SeededLoop:
        loops.append(SeededLoop(seed))
        return loops[0]

    async def main() -> object:
        with asyncio_alone():
            return await function(loops[0])

    with insertion_ordered():
        result = anyio.run(main, backend_options={"loop_factory": factory})
    if loops[0].failures:
        raise AssertionError("\n".join(loops[0].failures))
    return result
