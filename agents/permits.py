"""Calls of models within the limits that the whole swarm shares.

A call of a model without a limit costs one look into a dictionary. For the others the worker says what it
holds and wants, in one request at a time for all its calls, and again while it waits: coordinators count, and
a worker that is not heard of loses its share.
"""

import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from agents.agent import ModelBusy
from agents.board import Board, BoardRefused
from protocol.errors import InvalidMessage, TransportUnavailable
from protocol.limits import PermitReply, PermitRequest, Portion

ASK_SECONDS = 2.0
AGAIN_SECONDS = 1.0
"""Between two requests while a call waits, where nobody rings before."""
UNLIMITED_SECONDS = 30.0
"""For how long it counts that a model has no limit; then a coordinator may have other settings."""
PATIENCE_SECONDS = 10.0
"""How long a call waits; then its task gives its slot to another for a while."""
AWAY_SECONDS = (1.0, 3.0)

_log = logging.getLogger(__name__)


class Turn:
    """A call that waits, until it may be made. `counts`: it uses up a permit. `tokens`: what it took, once
    that was said.
    """

    def __init__(self) -> None:
        self.come = anyio.Event()
        self.counts = False
        self.tokens: int | None = None

    def took(self, tokens: int) -> None:
        self.tokens = tokens


@dataclass(slots=True)
class _Use:
    """What this worker has of a model's limit for one run."""

    granted: int = 0
    ended: int = 0
    running: int = 0
    waiting: deque[Turn] = field(default_factory=deque[Turn])
    calls: int = 0
    tokens: int = 0

    @property
    def unused(self) -> int:
        return self.granted - self.ended - self.running

    @property
    def idle(self) -> bool:
        return self.granted == self.ended and not self.waiting

    def end(self, turn: Turn) -> None:
        self.running -= 1
        self.ended += 1
        if turn.tokens is not None:
            self.calls += 1
            self.tokens += turn.tokens


class Permits:
    """Permits of this worker, which began at `since_ms`. `chance` in [0, 1) spreads returns."""

    def __init__(self, board: Board, since_ms: int, chance: Callable[[], float]) -> None:
        self._board = board
        self._since_ms = since_ms
        self._chance = chance
        self._unlimited: dict[str, float] = {}
        """Until when it counts, by model."""
        self._uses: dict[tuple[str, str], _Use] = {}
        self._bell = anyio.Event()

    def ring(self) -> None:
        """There is something to say, or to hear."""
        self._bell.set()

    @asynccontextmanager
    async def call(self, run: str, model: str) -> AsyncGenerator[Turn]:
        """Lets a call through once there is a permit for it. :raises ModelBusy:"""
        if self._unlimited.get(model, 0.0) > anyio.current_time():
            yield Turn()
            return
        use = self._uses.setdefault((model, run), _Use())
        turn = Turn()
        use.waiting.append(turn)
        self.ring()
        try:
            with anyio.move_on_after(PATIENCE_SECONDS):
                await turn.come.wait()
            if not turn.come.is_set():
                low, high = AWAY_SECONDS
                raise ModelBusy(model, timedelta(seconds=low + (high - low) * self._chance()))
            yield turn
        finally:
            if turn in use.waiting:
                use.waiting.remove(turn)
            if turn.counts:
                use.end(turn)
            self.ring()

    async def ask(self) -> None:
        """Says what is held and wanted, whenever that changes, and as long as it must be said again."""
        pause: float | None = None
        while True:
            with anyio.move_on_after(pause):
                await self._bell.wait()
            self._bell = anyio.Event()
            pause = await self._say() if self._uses else None

    async def _say(self) -> float | None:
        """Seconds until it must be said again; None where there is nothing to say any more."""
        portions = [self._portion(key, use) for key, use in self._uses.items()]
        began = anyio.current_time()
        try:
            request = PermitRequest(portions=tuple(portions))
            reply = await self._board.once(portions[0].run, "permits", request, PermitReply, ASK_SECONDS)
        except (TransportUnavailable, BoardRefused, InvalidMessage) as error:
            _log.warning("nobody says which calls the limits allow: %s", error)
            return AGAIN_SECONDS
        if anyio.current_time() - began > reply.lease_seconds / 2:
            return 0.0  # what was granted then may be somebody else's by now
        self._learn(reply)
        for one in portions:
            use = self._uses.get((one.subject, one.run))
            if use is not None and use.idle and not one.in_use and not one.wants:
                del self._uses[one.subject, one.run]
        if any(use.waiting for use in self._uses.values()):
            return min(AGAIN_SECONDS, reply.due_ms / 1000 or AGAIN_SECONDS)
        return reply.lease_seconds / 5 if self._uses else None

    def _portion(self, key: tuple[str, str], use: _Use) -> Portion:
        model, run = key
        return Portion(
            subject=model,
            run=run,
            since_ms=self._since_ms,
            granted=use.granted,
            ended=use.ended,
            wants=max(0, len(use.waiting) - use.unused),
            calls=use.calls,
            tokens=use.tokens,
        )

    def _learn(self, reply: PermitReply) -> None:
        until = anyio.current_time() + UNLIMITED_SECONDS
        self._unlimited |= dict.fromkeys(reply.unlimited, until)
        for one in reply.portions:
            use = self._uses.get((one.subject, one.run))
            if use is not None:
                use.granted, use.ended = max(use.granted, one.granted), max(use.ended, one.ended)
        for (model, run), use in list(self._uses.items()):
            if model in reply.unlimited:
                for turn in use.waiting:
                    turn.come.set()
                del self._uses[model, run]
            else:
                self._let_through(use)

    def _let_through(self, use: _Use) -> None:
        """As many as there are permits; what nobody waits for any more is given back."""
        while use.unused > 0 and use.waiting:
            turn = use.waiting.popleft()
            turn.counts = True
            use.running += 1
            turn.come.set()
        if use.unused > 0:
            use.ended += use.unused
            self.ring()
