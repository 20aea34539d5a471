"""Calls of providers behind circuit breakers that the whole swarm shares.

A worker knows the breakers from what coordinators tell; a call that goes well while its breaker is quiet
costs one look into a dictionary. Only a failure, and a call that would be the probe, ask a coordinator.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from agents.agent import AgentFailure, ProviderDown
from agents.board import Board, BoardRefused
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, TransportUnavailable
from protocol.prices import PriceTable
from protocol.providers import Breaker, Breakers, ProviderReply, ProviderReport, Told
from protocol.transport.contract import Message

ASK_SECONDS = 2.0
AWAY_SECONDS = 1.0
"""How long a task stays away at least whose provider is down; then its leader knows that, too."""
OUTDATED_MS = 10_000

_log = logging.getLogger(__name__)


class Call:
    """A call under way: what is known of it."""

    def __init__(self) -> None:
        self.told: Told = "unknown"
        self.reason = ""
        self.retry_after: timedelta | None = None

    def answered(self) -> None:
        self.told = "ok"

    def failed(self, reason: str, *, limited: bool = False, retry_after: timedelta | None = None) -> None:
        self.told = "limited" if limited else "failed"
        self.reason = reason
        self.retry_after = retry_after

    def ended(self) -> None:
        """The block has come to its end."""
        if self.told == "unknown":
            self.told = "ok"

    def raised(self, error: Exception) -> None:
        """What has left the block, where nothing was said of the call."""
        if self.told != "unknown" or not isinstance(error, AgentFailure):
            return
        if error.kind in {"capacity", "transient"}:
            self.failed(str(error), limited=error.kind == "capacity", retry_after=error.retry_after)


class Providers:
    """The breakers as this worker knows them. `probe_seconds` bounds a probe's call."""

    def __init__(
        self, board: Board, probe_seconds: float, wall_ms: Callable[[], int], prices: PriceTable
    ) -> None:
        self.prices = prices
        """What their models cost."""
        self._board = board
        self._probe_seconds = probe_seconds
        self._wall_ms = wall_ms
        self._known: dict[str, Breaker] = {}
        self._number = self._told_ms = 0
        self._introduced = False
        self._ahead_ms = 0
        """How far the coordinators' clock is ahead of ours."""

    def hear(self, message: Message) -> None:
        """What a coordinator tells everybody."""
        try:
            self._learn(decode_as(message.data, Breakers))
        except InvalidMessage as error:
            _log.error("breakers on %s refused: %s", message.subject, error)

    def _learn(self, told: Breakers) -> None:
        """An older version counts only where the store has come back older."""
        if told.number < self._number and told.now_ms < self._told_ms + OUTDATED_MS:
            return
        self._introduced = True
        self._number, self._told_ms = told.number, told.now_ms
        self._ahead_ms = told.now_ms - self._wall_ms()
        self._known = {breaker.provider: breaker for breaker in told.breakers if not breaker.quiet}

    @asynccontextmanager
    async def call(self, run: str, provider: str) -> AsyncGenerator[Call]:
        """Lets a call through, or not, and tells how it went where that matters."""
        probe = await self._admitted(run, provider)
        call = Call()
        scope = anyio.CancelScope()
        if probe:
            scope.deadline = anyio.current_time() + self._probe_seconds
        try:
            with scope:
                yield call
                call.ended()
        except Exception as error:
            call.raised(error)
            await self._tell(run, provider, call, probe, error)
            raise
        except BaseException:
            with anyio.move_on_after(ASK_SECONDS, shield=True):
                await self._tell(run, provider, call, probe, None)
            raise
        if scope.cancelled_caught:
            call.failed(f"the probe did not answer in {self._probe_seconds:g} s")
        await self._tell(run, provider, call, probe, None)
        if scope.cancelled_caught:
            raise _down(provider, call.reason)

    async def _admitted(self, run: str, provider: str) -> str:
        """Returns where a call may begin: the probe's token, if it is one.

        :raises ProviderDown:
        """
        if not self._introduced:
            self._introduced = True
            await self._ask(run, ProviderReport(provider=provider, told="unknown"))
        breaker = self._known.get(provider)
        if breaker is None or breaker.status == "closed":
            return ""
        if self._wall_ms() + self._ahead_ms >= breaker.until_ms:
            reply = await self._ask(run, ProviderReport(provider=provider, told="due"))
            if reply is not None and (reply.probe or reply.breakers.of(provider).status == "closed"):
                return reply.probe
        raise _down(provider, breaker.reason)

    async def _tell(self, run: str, provider: str, call: Call, probe: str, error: Exception | None) -> None:
        """Reports a call, unless nobody needs to know.

        :raises ProviderDown: where it has failed, and its breaker is not closed.
        """
        breaker = self._known.get(provider)
        suspected = breaker is not None and breaker.status == "closed"
        if not probe and (call.told == "unknown" or (call.told == "ok" and not suspected)):
            return
        pause = None if call.retry_after is None else min(call.retry_after.total_seconds(), 86_400.0)
        report = ProviderReport(
            provider=provider,
            told=call.told,
            probe=probe,
            retry_after_seconds=pause,
            reason=call.reason[:500],
        )
        await self._ask(run, report)
        breaker = self._known.get(provider)
        if call.told in {"failed", "limited"} and breaker is not None and breaker.status != "closed":
            raise _down(provider, call.reason) from error

    async def _ask(self, run: str, report: ProviderReport) -> ProviderReply | None:
        """None where no coordinator answers."""
        try:
            reply = await self._board.once(run, "provider", report, ProviderReply, ASK_SECONDS)
        except (TransportUnavailable, BoardRefused, InvalidMessage) as error:
            _log.warning("nobody takes the report on provider %s: %s", report.provider, error)
            return None
        self._learn(reply.breakers)
        return reply


def _down(provider: str, reason: str) -> ProviderDown:
    return ProviderDown(provider, reason, retry_after=timedelta(seconds=AWAY_SECONDS))
