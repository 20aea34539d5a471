"""What an agent is handed: its task, the board and the journal."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from agents.agent import Found, Payload_co, Permit, Priced, ProviderCall, Reconcile, View
from agents.board import Board
from agents.branches import branch
from agents.journal import Journal
from agents.ledger import Holding
from agents.observations import Gauged, Observers, StepReplayed
from agents.permits import Permits
from agents.providers import Providers
from agents.steps import Steps
from agents.view import BoardView, load
from agents.waiting import Suspend, Waits
from protocol.artifacts import Artifact
from protocol.messages import EffectKind, Grant, Usage
from protocol.prices import PriceTable

OpenJournal = Callable[[], Journal]


class TaskContext:
    """The context of a task that runs in the worker's loop or in one of its threads."""

    def __init__(
        self,
        grant: Grant,
        board: Board,
        holding: Holding,
        observers: Observers,
        open_journal: OpenJournal,
        suspend: Suspend,
        providers: Providers,
        permits: Permits,
    ) -> None:
        self.run = grant.run
        self.task = grant.task
        self.attempt = grant.attempt
        self.visit = grant.visit
        self.agent = grant.agent
        self.direction = grant.direction
        self.goal = grant.goal
        self.topic = grant.topic
        self.inputs: Sequence[Artifact] = ()
        self.settings: Mapping[str, JsonValue] = grant.settings
        self.deadline_ms = grant.deadline_ms
        self.prices = providers.prices
        self.board: View = BoardView(board, grant.run, grant.agent, self.progress)
        self._holding = holding
        self._observers = observers
        self._open_journal = open_journal
        self._opened: Journal | None = None
        self._made: Steps | None = None
        self._providers = providers
        self._permits = permits
        self._waits = Waits(holding, suspend)

    @property
    def suspended(self) -> bool:
        """Whether the task was stopped because it waits."""
        return self._waits.suspended

    def enter_thread(self) -> bool:
        """Called by a thread before it runs the agent; false where the task has been given up meanwhile."""
        self._holding.in_thread = True
        if self._holding.over:
            self._holding.in_thread = False
        return self._holding.in_thread

    def leave_thread(self) -> None:
        self._holding.in_thread = False

    def load(self, artifact: Artifact, payload: type[Payload_co]) -> Payload_co:
        return load(artifact, payload)

    async def step(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[], Awaitable[JsonValue | Priced]],
        *,
        usage: Usage | None = None,
    ) -> JsonValue:
        value = await self._steps().step(path, request, call, usage)
        self.progress()
        return value

    async def effect(
        self,
        path: str,
        request: JsonValue,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        kind: EffectKind = "unsafe",
        reconcile: Reconcile | None = None,
    ) -> JsonValue:
        value = await self._steps().effect(path, request, call, kind, reconcile)
        self.progress()
        return value

    async def reconsider(self, reason: str) -> None:
        """The attempt fails for a reply that is of no use: it is set aside if it was met again."""
        if self._made is not None:
            await self._made.reconsider(reason)

    def branch(self, name: str) -> AbstractContextManager[None]:
        return branch(name)

    async def ask(self, agent: str, question: str) -> JsonValue:
        return await self._waits.agent(self._journal(), agent, question)

    async def ask_human(
        self,
        question: str,
        *,
        choices: Sequence[str] = (),
        timeout: timedelta | None = None,
        approves: JsonValue = None,
    ) -> JsonValue:
        return await self._waits.human(
            self._journal(), question, choices=choices, timeout=timeout, approves=approves
        )

    async def wait_signal(self, name: str, *, timeout: timedelta | None = None) -> JsonValue:
        return await self._waits.signal(self._journal(), name, timeout=timeout)

    async def sleep(self, seconds: float | None = None, *, until_ms: int | None = None) -> None:
        await self._waits.time(self._journal(), seconds=seconds, until_ms=until_ms)

    def provider(self, name: str) -> AbstractAsyncContextManager[ProviderCall]:
        return self._providers.call(self.run, name)

    def permit(self, model: str) -> AbstractAsyncContextManager[Permit]:
        return self._permits.call(self.run, model)

    def gauge(self, name: str, value: float) -> None:
        self._observers.notify(Gauged(self.agent, name, value))

    def _journal(self) -> Journal:
        if self._opened is None:
            self._opened = self._open_journal()
        return self._opened

    def _steps(self) -> Steps:
        if self._made is None:
            self._made = Steps(self._journal(), self._waits, self._replayed)
        return self._made

    def progress(self) -> None:
        self._holding.progress += 1

    def _replayed(self, usage: Usage) -> None:
        self._observers.notify(StepReplayed(self.agent, usage))


class OutOfReach(Exception):
    """An agent in a process of its own asked for what lives in the worker."""

    def __init__(self, what: str) -> None:
        super().__init__(f"an agent that runs in a process has no {what}; let it run in the loop or a thread")


class NoBoard:
    """The board of an agent in a process: every use says that there is none."""

    async def get(self, ids: Sequence[str]) -> Sequence[Artifact]:  # noqa: ARG002
        raise OutOfReach("board")

    async def query(self, **conditions: object) -> tuple[Sequence[Artifact], int | None]:  # noqa: ARG002
        raise OutOfReach("board")

    async def all(self, payload: type[Payload_co], *, limit: int = 10_000) -> Sequence[Found[Payload_co]]:  # noqa: ARG002
        raise OutOfReach("board")


@dataclass
class ProcessContext:
    """A picklable snapshot of a task's context, for agents that run in a process."""

    run: str
    task: str
    attempt: int
    visit: int
    agent: str
    direction: str
    goal: str
    topic: str
    inputs: Sequence[Artifact]
    settings: Mapping[str, JsonValue]
    deadline_ms: int | None
    prices: PriceTable
    board: View

    @classmethod
    def of(cls, context: TaskContext) -> "ProcessContext":
        return cls(
            context.run,
            context.task,
            context.attempt,
            context.visit,
            context.agent,
            context.direction,
            context.goal,
            context.topic,
            tuple(context.inputs),
            dict(context.settings),
            context.deadline_ms,
            context.prices,
            NoBoard(),
        )

    def load(self, artifact: Artifact, payload: type[Payload_co]) -> Payload_co:
        return load(artifact, payload)

    async def step(
        self,
        path: str,  # noqa: ARG002
        request: JsonValue,  # noqa: ARG002
        call: Callable[[], Awaitable[JsonValue | Priced]],  # noqa: ARG002
        *,
        usage: Usage | None = None,  # noqa: ARG002
    ) -> JsonValue:
        raise OutOfReach("journal")

    async def effect(
        self,
        path: str,  # noqa: ARG002
        request: JsonValue,  # noqa: ARG002
        call: Callable[[str], Awaitable[JsonValue]],  # noqa: ARG002
        *,
        kind: EffectKind = "unsafe",  # noqa: ARG002
        reconcile: Reconcile | None = None,  # noqa: ARG002
    ) -> JsonValue:
        raise OutOfReach("journal")

    def branch(self, name: str) -> AbstractContextManager[None]:
        return branch(name)

    async def ask(self, agent: str, question: str) -> JsonValue:  # noqa: ARG002
        raise OutOfReach("way to ask")

    async def ask_human(
        self,
        question: str,  # noqa: ARG002
        *,
        choices: Sequence[str] = (),  # noqa: ARG002
        timeout: timedelta | None = None,  # noqa: ARG002
        approves: JsonValue = None,  # noqa: ARG002
    ) -> JsonValue:
        raise OutOfReach("way to ask")

    async def wait_signal(self, name: str, *, timeout: timedelta | None = None) -> JsonValue:  # noqa: ARG002
        raise OutOfReach("way to wait")

    async def sleep(self, seconds: float | None = None, *, until_ms: int | None = None) -> None:  # noqa: ARG002
        raise OutOfReach("way to wait")

    def provider(self, name: str) -> AbstractAsyncContextManager[ProviderCall]:  # noqa: ARG002
        raise OutOfReach("way to know what providers do")

    def permit(self, model: str) -> AbstractAsyncContextManager[Permit]:  # noqa: ARG002
        raise OutOfReach("way to know what limits allow")

    def gauge(self, name: str, value: float) -> None:  # noqa: ARG002
        raise OutOfReach("metrics")

    def progress(self) -> None:
        """Nothing: a process is stopped by its timeout."""
