"""Waits of an agent: answered from the journal, or the task is suspended until the leader has the answer.

A task is suspended when it waits and nothing else of it moves: no step is under way, and for a short
while none begins. What is no step does not count; it is done again when the task is resumed.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

import anyio
import anyio.lowlevel
from pydantic import JsonValue

from agents.agent import InquiryFailed, WaitTimedOut
from agents.branches import BRANCH, within
from agents.journal import InvalidStep, Journal
from agents.ledger import Holding
from protocol.artifacts import digest_of
from protocol.errors import StaleEpoch
from protocol.messages import Answer, Wait

IN_STEP: ContextVar[bool] = ContextVar("swarmboard_in_step", default=False)
"""Whether the call of a step runs here, which no wait may hold up: its outcome would be lost."""
QUIET_SECONDS = 0.05
"""How long nothing may move before the task is suspended."""

Suspend = Callable[[Sequence[Wait]], None]


class Waits:
    """What one attempt of a task waits for. `suspend` must stop the task."""

    def __init__(self, holding: Holding, suspend: Suspend) -> None:
        self.moving = 0
        """Steps under way."""
        self._holding = holding
        self._suspend = suspend
        self._open: dict[int, Wait] = {}
        self.suspended = False

    @contextmanager
    def moves(self) -> Generator[None]:
        """A step is under way in this block: the task is not suspended."""
        self.moving += 1
        try:
            yield
        finally:
            self.moving -= 1

    @contextmanager
    def calls(self) -> Generator[None]:
        """A step's call runs in this block."""
        token = IN_STEP.set(True)
        try:
            with self.moves():
                yield
        finally:
            IN_STEP.reset(token)

    async def agent(self, journal: Journal, agent: str, question: str) -> JsonValue:
        return await self._answer(
            journal,
            within(BRANCH.get(), f"ask/{agent}"),
            {"question": question},
            {"kind": "agent", "target": agent, "question": question},
        )

    async def human(
        self,
        journal: Journal,
        question: str,
        *,
        choices: Sequence[str],
        timeout: timedelta | None,
        approves: JsonValue,
    ) -> JsonValue:
        path = within(BRANCH.get(), "human")
        if isinstance(choices, str):
            raise InvalidStep(f"{path}: `choices` is one text; give a list of texts")
        digest = None if approves is None else digest_of(approves)
        asked: dict[str, object] = {"question": question, "choices": list(choices), "approves": digest}
        wait = {"kind": "human", "target": "human", **asked, "timeout_ms": _milliseconds(timeout)}
        return await self._answer(journal, path, asked, wait)

    async def decision(
        self,
        journal: Journal,
        path: str,
        asked: Mapping[str, JsonValue],
        question: str,
        *,
        choices: Sequence[str] = (),
    ) -> JsonValue:
        """What a person says about this very task, under a path of its own."""
        wait = {"kind": "human", "target": "human", "question": question, "choices": list(choices)}
        return await self._answer(journal, path, asked, wait)

    async def signal(self, journal: Journal, name: str, *, timeout: timedelta | None) -> JsonValue:
        wait = {"kind": "signal", "target": name, "timeout_ms": _milliseconds(timeout)}
        return await self._answer(journal, within(BRANCH.get(), f"signal/{name}"), {}, wait)

    async def time(self, journal: Journal, *, seconds: float | None, until_ms: int | None) -> None:
        if (seconds is None) == (until_ms is None):
            raise InvalidStep("sleep: either `seconds` or `until_ms` says how long")
        timeout_ms = None if seconds is None else max(0, round(seconds * 1000))
        wait = {"kind": "time", "target": "clock", "timeout_ms": timeout_ms, "until_ms": until_ms}
        path = within(BRANCH.get(), "sleep")
        await self._answer(journal, path, {"seconds": seconds, "until_ms": until_ms}, wait)

    async def _answer(
        self, journal: Journal, path: str, request: object, fields: Mapping[str, object]
    ) -> JsonValue:
        if IN_STEP.get():
            raise InvalidStep(f"{path}: nothing can be waited for within a step; wait before it, or after")
        with self.moves():
            digest, occurrence, answer = await journal.answer(path, request)
        if answer is not None:
            self._holding.progress += 1
            return _value(path, answer)
        try:
            wait = Wait.model_validate({"path": path, "request": digest, "occurrence": occurrence, **fields})
        except ValueError as error:
            raise InvalidStep(f"{path}: cannot be asked: {error}") from error
        self._open[id(wait)] = wait
        try:
            await self._until_suspended()
        finally:
            del self._open[id(wait)]
        raise StaleEpoch(self._holding.task, "it is suspended")

    async def _until_suspended(self) -> None:
        """Returns only where a shield keeps the task from being cancelled."""
        while not self.suspended:
            seen = self._holding.progress
            await anyio.sleep(QUIET_SECONDS)
            if not self.moving and self._holding.progress == seen and not self.suspended:
                self.suspended = True
                self._suspend(tuple(self._open.values()))
        await anyio.lowlevel.checkpoint()


def _value(path: str, answer: Answer) -> JsonValue:
    if answer.timed_out:
        raise WaitTimedOut(path)
    if answer.failure is not None:
        raise InquiryFailed(path, answer.failure)
    return answer.value


def _milliseconds(timeout: timedelta | None) -> int | None:
    return None if timeout is None else max(0, round(timeout.total_seconds() * 1000))
