"""The journal of a task: a step that was recorded is answered from the record instead of made again."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.lowlevel

from agents.board import Board
from protocol.artifacts import canonical_json
from protocol.errors import StaleEpoch
from protocol.messages import (
    INLINE_BODY_BYTES,
    Answer,
    BodyRef,
    Grant,
    RecordReply,
    RecordRequest,
    Step,
    StepsReply,
    StepsRequest,
    Usage,
)

BATCH_STEPS = 100
VALUE_BYTES = 16 * 1024
"""Values above it travel by claim check, so that a batch of small ones fits a message."""

Key = tuple[str, str]


class InvalidStep(Exception):
    """A step that cannot be recorded: the agent's fault."""


class Journal:
    """Steps of one task under one lease.

    `lost` is called when the lease moved on, and must cancel the task; `moved` at every step.
    """

    def __init__(
        self, grant: Grant, board: Board, worker: str, incarnation: str, *, lost: Callable[[], object]
    ) -> None:
        self._grant = grant
        self._board = board
        self._worker = worker
        self._incarnation = incarnation
        self._lost = lost
        self._recorded: dict[Key, dict[int, Step]] = defaultdict(dict)
        self._occurrences: dict[Key, int] = defaultdict(int)
        self._answers: dict[Key, dict[int, Step]] = defaultdict(dict)
        self._asked: dict[Key, int] = defaultdict(int)
        self._pending: list[tuple[Step, int]] = []
        self._unsaved: set[int] = set()
        self._turn = anyio.Lock()
        self._loading = anyio.Lock()
        self._more = grant.steps_more
        self._remember(grant.steps)

    async def step(
        self,
        path: str,
        request: object,
        call: Callable[[], Awaitable[object]],
        *,
        usage: Usage | None,
        replayed: Callable[[], None],
    ) -> object:
        """The recorded value of this occurrence of (path, request), or that of `call`, recorded.

        :raises InvalidStep: when path, request or value cannot be recorded.
        :raises StaleEpoch: when the lease moved on and a shield keeps the task from being cancelled.
        """
        key = path, _digest(path, request)
        occurrence = self._occurrences[key]
        self._occurrences[key] += 1
        await self._load_all()
        known = self._recorded[key].get(occurrence)
        if known is not None:
            replayed()
            return await self._value_of(known)
        raw = _canonical(path, "value", await call())
        step = await self._step(key, occurrence, raw, usage)
        await self._record(step, len(raw) if step.body is None else 0)
        return json.loads(raw)

    async def answer(self, path: str, request: object) -> tuple[str, int, Answer | None]:
        """Digest and occurrence of a request, and its recorded answer, if the leader has one.

        :raises InvalidStep: when the request cannot be recorded.
        """
        key = path, _digest(path, request)
        occurrence = self._asked[key]
        self._asked[key] += 1
        await self._load_all()
        known = self._answers[key].get(occurrence)
        if known is None:
            return key[1], occurrence, None
        answer = Answer.model_validate(known.value)
        if answer.body is not None:
            answer = answer.model_copy(update={"value": await self._fetched(answer.body)})
        return key[1], occurrence, answer

    async def _step(self, key: Key, occurrence: int, raw: bytes, usage: Usage | None) -> Step:
        path, request = key
        body = await self._board.put(self._grant.run, raw) if len(raw) > VALUE_BYTES else None
        try:
            return Step(
                kind="pure" if usage is None else "model",
                path=path,
                request=request,
                occurrence=occurrence,
                value=None if body else json.loads(raw),
                body=body,
                usage=usage or Usage(),
            )
        except ValueError as error:
            raise InvalidStep(f"step {path!r} cannot be recorded: {error}") from error

    async def _record(self, step: Step, size: int) -> None:
        """Returns once the step is recorded. Siblings that wait meanwhile share the next request."""
        self._pending.append((step, size))
        self._unsaved.add(id(step))
        async with self._turn:
            while id(step) in self._unsaved:
                batch = self._next_batch()
                await self._send([waiting for waiting, _ in batch])
                del self._pending[: len(batch)]
                self._unsaved.difference_update(id(waiting) for waiting, _ in batch)

    def _next_batch(self) -> list[tuple[Step, int]]:
        batch: list[tuple[Step, int]] = []
        total = 0
        for waiting in self._pending[:BATCH_STEPS]:
            total += waiting[1]
            if batch and total > INLINE_BODY_BYTES // 2:
                break
            batch.append(waiting)
        return batch

    async def _send(self, steps: list[Step]) -> None:
        request = RecordRequest(
            task=self._grant.task,
            token=self._grant.token,
            worker=self._worker,
            incarnation=self._incarnation,
            steps=tuple(steps),
        )
        reply = await self._board.ask(self._grant.run, "record", request, RecordReply)
        if reply.verdict == "stale":
            self._lost()
            await anyio.lowlevel.checkpoint()
            raise StaleEpoch(self._grant.task, reply.reason)
        if reply.verdict == "conflict":
            raise InvalidStep(f"a step is recorded with another value: {reply.reason}")

    async def _load_all(self) -> None:
        """Fetches what the grant had no room for, before the first step."""
        if not self._more:
            return
        async with self._loading:
            after: int | None = len(self._grant.steps)
            while self._more and after is not None:
                request = StepsRequest(task=self._grant.task, token=self._grant.token, after=after)
                reply = await self._board.ask(self._grant.run, "steps", request, StepsReply)
                self._remember(reply.steps)
                after = reply.next
            self._more = False

    def _remember(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.kind in {"pure", "model"}:
                self._recorded[step.path, step.request][step.occurrence] = step
            elif step.kind == "answer":
                self._answers[step.path, step.request][step.occurrence] = step

    async def _value_of(self, step: Step) -> object:
        return step.value if step.body is None else await self._fetched(step.body)

    async def _fetched(self, body: BodyRef) -> object:
        return json.loads(await self._board.body(self._grant.run, self._grant.agent, body))


def _digest(path: str, request: object) -> str:
    return hashlib.blake2b(_canonical(path, "request", request), digest_size=16).hexdigest()


def _canonical(path: str, what: str, value: object) -> bytes:
    try:
        return canonical_json(value)  # pyright: ignore[reportArgumentType]  # checked by the attempt itself
    except (TypeError, ValueError) as error:
        raise InvalidStep(f"step {path!r}: its {what} is not JSON: {error}") from error
