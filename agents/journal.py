"""The journal of a task: what was recorded, and the recording of what is new.

`agents.steps` says what is recorded when; `agents.replay` knows how far an attempt has come.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.lowlevel
from pydantic import JsonValue

from agents.board import Board
from agents.replay import Entry, Replay
from protocol.artifacts import canonical_json
from protocol.deltas import delta, last
from protocol.errors import StaleEpoch
from protocol.messages import (
    INLINE_BODY_BYTES,
    NO_USAGE,
    VALUE_BYTES,
    Answer,
    Asked,
    BodyRef,
    Divergence,
    Grant,
    RecordReply,
    RecordRequest,
    Step,
    StepsReply,
    StepsRequest,
    Usage,
)
from protocol.strict_json import carriable

BATCH_STEPS = 100
PATH_LENGTH = 400
"""Less than a message takes, for questions about a step are asked under a path of their own."""

Key = tuple[str, str]


class InvalidStep(Exception):
    """A step that cannot be recorded: the agent's fault."""


class EffectRefused(Exception):
    """The leader will not record an intent that it cannot keep: nothing was done."""


class Request:
    """A request of a step: its path, its canonical text, and the digest that it is matched by."""

    __slots__ = ("digest", "path", "text")

    def __init__(self, path: str, content: object) -> None:
        """:raises InvalidStep: when it is not JSON, or the path cannot be one."""
        _check_path(path)
        raw = canonical(path, "request", content)
        self.path = path
        self.text = raw.decode()
        self.digest = hashlib.blake2b(raw, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Draft:
    """A step to record. `raw` is its value as canonical JSON; `tells`: whether its request is kept."""

    kind: Literal["pure", "model", "intent", "effect", "divergence"]
    request: Request
    raw: bytes
    occurrence: int = 0
    usage: Usage = NO_USAGE
    together: bool = False
    failed: tuple[str, ...] = ()
    tells: bool = True

    @property
    def value(self) -> JsonValue:
        """A copy that nobody else holds, as a replay returns it."""
        return json.loads(self.raw)


class Journal:
    """Steps of one task under one lease.

    `lost` is called when the lease moved on, and must cancel the task.
    """

    def __init__(
        self, grant: Grant, board: Board, worker: str, incarnation: str, *, lost: Callable[[], object]
    ) -> None:
        self.grant = grant
        self.replay = Replay(grant.steps_shared, pinned=grant.steps_pinned)
        self._board = board
        self._worker = worker
        self._incarnation = incarnation
        self._lost = lost
        self._answers: dict[Key, dict[int, Step]] = defaultdict(dict)
        self._asked: dict[Key, int] = defaultdict(int)
        self._texts: dict[str, str | None] = {}
        self._divergences: list[Step] = []
        self._pending: list[tuple[Step, int]] = []
        self._unsaved: set[int] = set()
        self._refused: dict[int, EffectRefused] = {}
        self._turn = anyio.Lock()
        self._telling = anyio.Lock(fast_acquire=True)
        self._loading = anyio.Lock(fast_acquire=True)
        self._loaded = False
        self._remember(grant.steps, 0)

    async def load(self) -> None:
        """To be awaited before the first step: fetches what the grant had no room for."""
        if self._loaded:
            return
        async with self._loading:
            if self._loaded:
                return
            after: int | None = len(self.grant.steps) if self.grant.steps_more else None
            while after is not None:
                request = StepsRequest(task=self.grant.task, token=self.grant.token, after=after)
                reply = await self._board.ask(self.grant.run, "steps", request, StepsReply)
                self._remember(reply.steps, after)
                after = reply.next
            for step in self._divergences:
                self.replay.leave(Divergence.model_validate(await self.value_of(step)))
            self._loaded = True

    def _remember(self, steps: Sequence[Step], first: int) -> None:
        self.replay.remember(steps, first)
        for step in steps:
            if step.kind == "answer":
                self._answers[step.path, step.request][step.occurrence] = step
            elif step.kind == "divergence":
                self._divergences.append(step)

    async def answer(self, path: str, request: object) -> tuple[str, int, Answer | None]:
        """Digest and occurrence of a request, and its recorded answer, if the leader has one.

        :raises InvalidStep: when the request cannot be recorded.
        """
        key = path, Request(path, request).digest
        occurrence = self._asked[key]
        self._asked[key] += 1
        await self.load()
        known = self._answers[key].get(occurrence)
        if known is None:
            return key[1], occurrence, None
        answer = Answer.model_validate(known.value)
        if answer.body is not None:
            answer = answer.model_copy(update={"value": await self._fetched(answer.body)})
        return key[1], occurrence, answer

    async def value_of(self, step: Step) -> JsonValue:
        """The value of a recorded step, wherever it is kept."""
        return step.value if step.body is None else await self._fetched(step.body)

    async def text_of(self, entry: Entry) -> str:
        """The request of a recorded step, as text; empty where it was not recorded."""
        return await self._told(self.replay.told(entry)) or ""

    async def record(self, *drafts: Draft) -> None:
        """Returns once the steps are recorded, in this order.

        :raises InvalidStep: when one cannot be recorded.
        :raises EffectRefused: when an intent among them cannot be kept.
        :raises StaleEpoch: when the lease moved on and a shield keeps the task from being cancelled.
        """
        bodies = [await self._put(draft.raw) for draft in drafts]
        steps: list[tuple[Step, int]] = []
        async with self._telling:
            for draft, body in zip(drafts, bodies, strict=True):
                asked = await self._asked_of(draft.request) if draft.tells else None
                size = (0 if body else len(draft.raw)) + (len(asked.text) if asked else 0)
                steps.append((_step(draft, body, asked), size))
            self._pending += steps
        await self._save([step for step, _ in steps])

    async def _put(self, raw: bytes) -> BodyRef | None:
        """What is large, or more than a message may carry, goes by its digest."""
        if len(raw) <= VALUE_BYTES and carriable(raw):
            return None
        return await self._board.put(self.grant.run, raw)

    async def confirm(self, draft: Draft) -> None:
        """Records a small step that is recorded already: the leader agrees if the lease is still held."""
        step = _step(draft, None, None)
        self._pending.append((step, len(draft.raw)))
        await self._save([step])

    async def _asked_of(self, request: Request) -> Asked:
        """How the journal tells a request; steps of a path are told in the order of their recording."""
        path = request.path
        if path not in self._texts:
            self._texts[path] = await self._told(self.replay.last_told(path))
        asked = delta(self._texts[path], request.text)
        raw = asked.text.encode()
        if len(raw) > VALUE_BYTES:
            body = await self._board.put(self.grant.run, raw)
            asked = asked.model_copy(update={"text": "", "body": body})
        self._texts[path] = request.text
        return asked

    async def _told(self, steps: Iterable[Step]) -> str | None:
        told = [step.asked for step in steps if step.asked is not None]
        bodies: dict[str, str] = {}
        for asked in told:
            if asked.body is not None:
                raw = await self._board.body(self.grant.run, self.grant.agent, asked.body)
                bodies[asked.body.digest] = raw.decode()
        return last(told, bodies)

    async def _save(self, steps: Sequence[Step]) -> None:
        """Returns once pending steps are recorded. Siblings that wait meanwhile share the next request."""
        mine = {id(step) for step in steps}
        self._unsaved |= mine
        async with self._turn:
            while mine & self._unsaved:
                batch = self._next_batch()
                try:
                    await self._send([waiting for waiting, _ in batch])
                except EffectRefused as refused:
                    self._drop_intents(batch, refused)
                    continue
                del self._pending[: len(batch)]
                self._unsaved.difference_update(id(waiting) for waiting, _ in batch)
        for identity in mine & self._refused.keys():
            raise self._refused.pop(identity)

    def _drop_intents(self, batch: Sequence[tuple[Step, int]], refused: EffectRefused) -> None:
        """Nothing of a refused batch was recorded; without its intents it will be."""
        intents = {id(step) for step, _ in batch if step.kind == "intent"}
        self._pending = [waiting for waiting in self._pending if id(waiting[0]) not in intents]
        self._unsaved -= intents
        self._refused |= dict.fromkeys(intents, refused)

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
            task=self.grant.task,
            token=self.grant.token,
            worker=self._worker,
            incarnation=self._incarnation,
            steps=tuple(steps),
        )
        reply = await self._board.ask(self.grant.run, "record", request, RecordReply)
        match reply.verdict:
            case "stale":
                self._lost()
                await anyio.lowlevel.checkpoint()
                raise StaleEpoch(self.grant.task, reply.reason)
            case "conflict":
                raise InvalidStep(f"a step is recorded with another value: {reply.reason}")
            case "refused":
                raise EffectRefused(reply.reason)
            case "recorded":
                pass

    async def _fetched(self, body: BodyRef) -> JsonValue:
        return json.loads(await self._board.body(self.grant.run, self.grant.agent, body))


def _check_path(path: object) -> None:
    """Before anything is paid for. :raises InvalidStep: when no step can be recorded under a path."""
    if not isinstance(path, str) or not 1 <= len(path) <= PATH_LENGTH:
        shown = repr(path)[:100]
        raise InvalidStep(f"step {shown}: a path is text of 1 to {PATH_LENGTH} characters, branches included")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidStep(f"step {path[:100]!r}: a path has whole characters, no lone surrogates") from None


def canonical(path: str, what: str, value: object) -> bytes:
    """:raises InvalidStep: when a value is not JSON."""
    try:
        return canonical_json(value)  # pyright: ignore[reportArgumentType]  # checked by the attempt itself
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidStep(f"step {path!r}: its {what} is not JSON: {error}") from error


def _step(draft: Draft, body: BodyRef | None, asked: Asked | None) -> Step:
    try:
        return Step(
            kind=draft.kind,
            path=draft.request.path,
            request=draft.request.digest,
            occurrence=draft.occurrence,
            value=None if body else json.loads(draft.raw),
            body=body,
            usage=draft.usage,
            asked=asked,
            together=draft.together,
            failed=draft.failed,
        )
    except ValueError as error:
        raise InvalidStep(f"step {draft.request.path!r} cannot be recorded: {error}") from error
