"""Runs granted tasks, each in its own cancel scope, and reports how they ended.

Runners are reused, because a task of the event loop costs more than a short agent. A runner in which an
agent left a context variable changed is not used again, so that agents cannot see each other.
"""

import contextvars
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from agents.agent import Agent, AgentFailure, UnusableReply
from agents.board import Board
from agents.context import TaskContext
from agents.execution import Executor
from agents.failures import failure_of
from agents.journal import Journal
from agents.ledger import Holding, Ledger
from agents.observations import LeaseLost, Observers, Outcome, TaskFinished, TaskStarted
from agents.outbox import Outbox
from agents.permits import Permits
from agents.providers import Providers
from agents.results import Outgoing, Put, checked, describe, outgoing, suspended
from agents.view import BoardView, check_given, parse
from protocol.artifacts import Artifact
from protocol.messages import NO_USAGE, Failure, Grant, SwarmDiscovery, Wait

End = Literal["", "lost", "released", "suspended"]

_log = logging.getLogger(__name__)


class Running:
    """A granted task at work. `end` says why it was stopped, if it was; `waits` what it is suspended for."""

    __slots__ = ("agent", "end", "grant", "holding", "scope", "waits")

    def __init__(self, grant: Grant, agent: Agent, holding: Holding) -> None:
        self.grant = grant
        self.agent = agent
        self.holding = holding
        self.scope = anyio.CancelScope()
        self.end: End = ""
        self.waits: Sequence[Wait] = ()

    def suspend(self, waits: Sequence[Wait]) -> None:
        if not self.end:
            self.waits = waits
            self.stop("suspended")

    def stop(self, end: End) -> None:
        self.end = end
        self.scope.cancel()


class Runner:
    """Runs at most as many tasks at once as there are slots. `freed` is called after slots became free."""

    def __init__(  # noqa: PLR0917 - the parts of a worker, once
        self,
        tasks: TaskGroup,
        agents: Mapping[str, Agent],
        board: Board,
        ledger: Ledger,
        outbox: Outbox,
        executor: Executor,
        observers: Observers,
        freed: Callable[[], None],
        providers: Providers,
        permits: Permits,
    ) -> None:
        self._tasks = tasks
        self._agents = agents
        self._board = board
        self._ledger = ledger
        self._outbox = outbox
        self._executor = executor
        self._observers = observers
        self._freed = freed
        self._providers = providers
        self._permits = permits
        self._running: dict[str, Running] = {}
        self._ready: deque[Running] = deque()
        self._idle: list[anyio.Event] = []
        self._runners = 0
        self._waking = False

    def start(self, grant: Grant, holding: Holding) -> None:
        """Takes over the slot of a granted lease."""
        running = Running(grant, self._agents[grant.agent], holding)
        self._running[grant.token] = running
        self._ready.append(running)
        self._wake()

    def lose(self, token: str) -> bool:
        """The lease moved on: the task is stopped and nothing of it is published. False if none runs."""
        running = self._running.get(token)
        if running is None:
            return False
        self._ledger.lose(token)
        if running.end != "lost":
            self._observers.notify(LeaseLost(running.grant.agent))
        running.stop("lost")
        return True

    def release(self) -> None:
        """Gives every task that still runs back to its leader."""
        for running in self._running.values():
            if not running.end:
                running.stop("released")

    def _wake(self) -> None:
        """One runner is woken at a time; it wakes the next, if anything is left, before it starts."""
        if self._waking or not self._ready:
            return
        if self._idle:
            self._waking = True
            self._idle.pop().set()
        elif self._runners < self._ledger.slots:
            self._waking = True
            self._runners += 1
            self._tasks.start_soon(self._serve, name="runner")

    async def _serve(self) -> None:
        clean = contextvars.copy_context()
        while True:
            self._waking = False
            while self._ready:
                running = self._ready.popleft()
                self._wake()
                await self._run(running)
                if _changed(clean):
                    self._runners -= 1
                    self._wake()
                    return
            bell = anyio.Event()
            self._idle.append(bell)
            await bell.wait()

    async def _run(self, running: Running) -> None:
        grant = running.grant
        self._observers.notify(TaskStarted(grant.agent))
        began = anyio.current_time()
        result: Outgoing | None = None
        with running.scope:
            if not running.end:
                result = await self._attempt(running, began)
        if running.end == "released" and result is None:
            result = self._report("released", grant)
        elif running.end == "suspended" and (result is None or result.message.outcome != "done"):
            busy_ms = int((anyio.current_time() - began) * 1000)
            result = await suspended(grant, running.waits, self._ledger, self._put(grant.run), busy_ms)
        self._end(running, result, began)

    def _end(self, running: Running, result: Outgoing | None, began: float) -> None:
        """The slot is free; the lease is held on until the receipt."""
        token = running.grant.token
        now = anyio.current_time()
        del self._running[token]
        self._ledger.free_slot()
        outcome: Outcome = "dropped"
        usage = NO_USAGE
        if running.end == "lost":
            self._ledger.stopped(running.holding)
        elif result is not None:
            outcome, usage = _outcome(result.message), result.message.usage
            self._ledger.finish(token, well=None if outcome == "waiting" else outcome == "done")
            self._outbox.post(result, now)
        self._observers.notify(TaskFinished(running.grant.agent, outcome, now - began, usage))
        self._freed()

    async def _attempt(self, running: Running, began: float) -> Outgoing:
        """The agent's result, or its failure, as the message that reports it."""
        grant = running.grant
        try:
            found = checked(running.agent, await self._work(running, began))
            busy_ms = int((anyio.current_time() - began) * 1000)
            return await describe(running.agent, grant, found, self._ledger, self._put(grant.run), busy_ms)
        except anyio.get_cancelled_exc_class() as error:
            if running.end or anyio.get_current_task().has_pending_cancellation():
                raise
            return self._failed(running, error)
        except BaseException as error:  # noqa: BLE001 - whatever an agent raises is reported, typed
            return self._failed(running, error)

    async def _work(self, running: Running, began: float) -> object:
        context = TaskContext(
            running.grant,
            self._board,
            running.holding,
            self._observers,
            lambda: self._journal(running),
            running.suspend,
            self._providers,
            self._permits,
        )
        seconds = self._seconds_left(running)
        if seconds is None:
            return await self._call(running, context)
        with anyio.CancelScope(deadline=began + seconds):
            return await self._call(running, context)
        name = running.agent.name
        raise AgentFailure("transient", f"agent {name!r} did not finish in {max(seconds, 0):g} s")

    async def _call(self, running: Running, context: TaskContext) -> object:
        grant = running.grant
        if grant.inputs or grant.input_ids:
            context.inputs = await self._inputs(grant, context)
        try:
            return await self._executor.run(running.agent, context)
        except UnusableReply as unusable:
            await context.reconsider(str(unusable))
            raise

    async def _inputs(self, grant: Grant, context: TaskContext) -> Sequence[Artifact]:
        """The input artifacts, whole, in the order of their ids."""
        view = BoardView(self._board, grant.run, grant.agent, context.progress)
        known = {artifact.id: await view.whole(artifact) for artifact in parse(grant.inputs)}
        missing = [identity for identity in grant.input_ids if identity not in known]
        if missing:
            known |= {artifact.id: artifact for artifact in await view.get(missing)}
        inputs = [known[identity] for identity in grant.input_ids or known if identity in known]
        for artifact in inputs:
            if artifact.given:
                check_given(artifact)
        return inputs

    def _seconds_left(self, running: Running) -> float | None:
        timeout, deadline_ms = running.agent.timeout, running.grant.deadline_ms
        seconds = None if timeout is None else timeout.total_seconds()
        if deadline_ms is None:
            return seconds
        left = (deadline_ms - self._ledger.identity.wall_ms()) / 1000
        return left if seconds is None else min(left, seconds)

    def _journal(self, running: Running) -> Journal:
        identity = self._ledger.identity
        return Journal(
            running.grant,
            self._board,
            identity.worker,
            identity.incarnation,
            lost=lambda: self.lose(running.grant.token),
        )

    def _put(self, run: str) -> Put:
        return partial(self._board.put, run)

    def _failed(self, running: Running, error: BaseException) -> Outgoing:
        failure = failure_of(error)
        level = logging.ERROR if failure.kind == "bug" else logging.WARNING
        if running.end:
            level = logging.DEBUG  # it was stopped: what it raises then is of no account
        _log.log(
            level,
            "task %s of agent %r failed (%s): %s",
            running.grant.task,
            running.agent.name,
            failure.kind,
            failure.message,
        )
        return self._report("failed", running.grant, failure)

    def _report(
        self, outcome: Literal["failed", "released"], grant: Grant, failure: Failure | None = None
    ) -> Outgoing:
        identity = self._ledger.identity
        message = SwarmDiscovery(
            run=grant.run,
            task=grant.task,
            token=grant.token,
            worker=identity.worker,
            incarnation=identity.incarnation,
            outcome=outcome,
            failure=failure,
            free_slots=self._ledger.free_slots,
        )
        return outgoing(message)


def _changed(clean: contextvars.Context) -> bool:
    """Whether a context variable holds another object than before (equality may mean anything)."""
    now = contextvars.copy_context()
    return len(now) != len(clean) or any(clean.get(name) is not value for name, value in now.items())


def _outcome(discovery: SwarmDiscovery) -> Outcome:
    if discovery.outcome == "failed":
        return discovery.failure.kind if discovery.failure else "bug"
    return discovery.outcome
