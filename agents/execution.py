"""Where agents run: in the worker's loop, in a thread, or in a process."""

import inspect
import logging
import signal
import sys
from collections.abc import Awaitable
from importlib import import_module
from typing import cast

import anyio
import anyio.to_process
import anyio.to_thread
from anyio import BrokenWorkerProcess

from agents.agent import Agent, AgentFailure, AgentFunction
from agents.context import ProcessContext, TaskContext
from agents.failures import FailedElsewhere, failure_of
from agents.prompts import SETTING, check_unread
from protocol.messages import Failure

_log = logging.getLogger(__name__)


class Executor:
    """Runs agents' functions. A cancelled thread is abandoned, a cancelled process is killed."""

    def __init__(self, threads: int, processes: int) -> None:
        self._threads = anyio.CapacityLimiter(threads)
        self._processes = anyio.CapacityLimiter(processes)
        self.busy_threads = 0
        """Threads inside of an agent's function, abandoned ones included."""

    async def run(self, agent: Agent, context: TaskContext) -> object:
        """What the agent's function returned.

        :raises AgentFailure: as transient, when the process of an agent died; as the user's, when the run
            has instructions for an agent that takes none.
        :raises FailedElsewhere: for whatever an agent raised in its process.
        """
        if SETTING in context.settings and not agent.takes_prompts:
            check_unread(agent.name, context.settings)
        if agent.runs_in == "thread":
            return await self._on_thread(agent, context)
        if agent.runs_in == "process":
            return await self._in_process(agent, context)
        found: object = agent.function(context)
        return await cast("Awaitable[object]", found) if inspect.isawaitable(found) else found

    async def _on_thread(self, agent: Agent, context: TaskContext) -> object:
        try:
            return await anyio.to_thread.run_sync(
                self._in_thread, agent.function, context, abandon_on_cancel=True, limiter=self._threads
            )
        except anyio.get_cancelled_exc_class():
            if not context.suspended:
                _log.warning("a thread of agent %r is abandoned: nothing can stop it", agent.name)
            raise

    def _in_thread(self, function: AgentFunction, context: TaskContext) -> object:
        if not context.enter_thread():
            return None
        self.busy_threads += 1
        try:
            return function(context)
        finally:
            self.busy_threads -= 1
            context.leave_thread()

    async def _in_process(self, agent: Agent, context: TaskContext) -> object:
        function = agent.function
        try:
            found = await anyio.to_process.run_sync(
                run_here,
                function.__module__,
                function.__qualname__,
                ProcessContext.of(context),
                cancellable=True,
                limiter=self._processes,
            )
        except BrokenWorkerProcess as error:
            raise AgentFailure("transient", f"agent {agent.name!r}: its process died") from error
        if isinstance(found, Failure):
            raise FailedElsewhere(found)
        return found


def run_here(module: str, name: str, context: ProcessContext) -> object:
    """The child's part: runs the agent that `module` calls `name`; a failure comes back classified.

    Ctrl-C in a terminal reaches every process: the worker decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return resolve(module, name)(context)
    except BaseException as error:  # noqa: BLE001 - whatever an agent raises becomes a typed failure
        return failure_of(error)


def resolve(module: str, name: str) -> AgentFunction:
    """The function behind a module-level name, which `@agent` may have made an Agent."""
    found: object = sys.modules.get(module) or import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found.function if isinstance(found, Agent) else cast("AgentFunction", found)
