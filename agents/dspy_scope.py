"""The task in whose name a DSPy program runs: found from any thread that DSPy starts, closed at its end.

DSPy hands its settings on to the threads of `Parallel` and `asyncify`, so the scope lies in them. Concurrent
parts of a program are branches: a module that is called in another thread, or in another asyncio task, than
the module that called it has steps of its own, under its name and a digest of its inputs.
"""

# DSPy carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.from_thread
import anyio.lowlevel
import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.callback_context import ACTIVE_CALL_ID
from pydantic_core import to_json

from agents.agent import AgentFailure, Context
from agents.branches import BRANCH, within

SETTING = "swarmboard_scope"
BRANCH_LENGTH = 300
"""A longer branch goes by its digest, so that its steps' paths stay within their limit."""

STANDSTILL_SECONDS = 3.0
"""How long a program may stop the loop that one of its threads waits for."""

Result = TypeVar("Result")


class Scope:
    """One run of a program in one attempt of a task."""

    def __init__(self, context: Context, path: str) -> None:
        self.context = context
        self.path = path
        self.failure: BaseException | None = None
        """Why the task cannot go on, whatever the program makes of it."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._token = anyio.lowlevel.current_token()
        self._closed = False

    def close(self) -> None:
        """What a thread that was left behind asks for from now on is refused."""
        self._closed = True

    def check(self) -> None:
        """:raises AgentFailure: when the program has ended.
        :raises BaseException: what it has failed with before.
        """
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise AgentFailure("bug", f"{self.path}: called after the program had ended")

    @property
    def at_home(self) -> bool:
        """Whether this is the event loop of the worker."""
        return running_loop() is self._loop

    def wait(self, function: Callable[..., Awaitable[Result]], *args: object) -> Result:
        """Runs an async function in the worker's loop, from another thread.

        :raises AgentFailure: (bug) in the loop itself, which would wait for itself; or where the program
            stops the loop while its threads need it.
        """
        if self.at_home:
            problem = "a synchronous call would stop the worker's event loop"
            remedy = "await `acall`, or leave out `aforward`"
            raise AgentFailure("bug", f"{self.path}: {problem}; {remedy}")
        self._knock()
        return anyio.from_thread.run(function, *args, token=self._token)  # pyright: ignore[reportArgumentType]

    def _knock(self) -> None:
        """Returns once the loop has heard of this thread; it never does while the program waits in it."""
        heard = threading.Event()
        self._loop.call_soon_threadsafe(heard.set)
        while not heard.wait(STANDSTILL_SECONDS):
            if asyncio.current_task(self._loop) is self._task:
                problem = "`aforward` stops the worker's event loop while its threads call the model"
                remedy = "await `dspy.asyncify(parallel)(…)`, or leave out `aforward`"
                self.failure = AgentFailure("bug", f"{self.path}: {problem}; {remedy}")
                raise self.failure

    async def go(self, function: Callable[..., Awaitable[Result]], *args: object) -> Result:
        """Runs an async function in the worker's loop, from there or from another loop."""
        if self.at_home:
            return await function(*args)
        return await asyncio.to_thread(self.wait, function, *args)


def current_scope() -> Scope | None:
    """The scope of the program that runs here; None outside of any."""
    found = dspy.settings.get(SETTING)
    return found if isinstance(found, Scope) else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@dataclass(frozen=True, slots=True)
class _Frame:
    strand: tuple[int, int]
    branch: str
    outer: str


class Branches(BaseCallback):
    """Gives concurrent calls of modules branches of their own, as DSPy tells of the calls."""

    def __init__(self) -> None:
        self._frames: dict[str, _Frame] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._enter(call_id, lambda: f"{type(instance).__name__}-{_digest(inputs)}")

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: BaseException | None = None
    ) -> None:
        del outputs, exception
        BRANCH.set(self._frames.pop(call_id).outer)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._enter(call_id, lambda: f"{instance.name}-{_digest(inputs)}")

    on_tool_end = on_module_end

    def _enter(self, call_id: str, name: Callable[[], str]) -> None:
        outer, strand = BRANCH.get(), _strand()
        parent = self._frames.get(ACTIVE_CALL_ID.get() or "")
        branch = outer
        if parent is not None:
            branch = parent.branch if parent.strand == strand else self._branch(parent.branch, name())
        self._frames[call_id] = _Frame(strand, branch, outer)
        BRANCH.set(branch)

    def _branch(self, outer: str, name: str) -> str:
        branch = within(outer, name)
        with self._lock:
            self._counts[branch] += 1
            count = self._counts[branch]
        branch = branch if count == 1 else f"{branch}-{count}"
        if len(branch) > BRANCH_LENGTH:
            return hashlib.blake2b(branch.encode(), digest_size=16).hexdigest()
        return branch


def _strand() -> tuple[int, int]:
    """What runs one thing after the other: a thread, or a task of its loop."""
    task = None if running_loop() is None else asyncio.current_task()
    return threading.get_ident(), id(task)


def _digest(inputs: dict[str, Any]) -> str:
    raw = to_json(inputs, fallback=_plain)
    return hashlib.blake2b(raw, digest_size=4).hexdigest()


def _plain(value: Any) -> object:
    """DSPy's examples are mappings; of anything else that is not data the type will do."""
    return dict(value.items()) if hasattr(value, "items") else type(value).__qualname__
