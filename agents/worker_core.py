"""The worker: pulls tasks, claims them, runs agents and publishes what they found, until it is drained.

It is stateless: what it needs comes with the claim or by request, what it learns leaves as a message.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from agents.agent import Agent
from agents.board import Board
from agents.builds import told_builds
from agents.claims import Claims
from agents.execution import Executor
from agents.identity import Identity
from agents.intake import Intake
from agents.ledger import Ledger
from agents.observations import Draining, MessageRefused, Observers, Offered
from agents.outbox import Outbox
from agents.permits import Permits
from agents.providers import Providers
from agents.pulse import Pulse
from agents.runner import Runner
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage
from protocol.messages import Control, Lease, Refusal
from protocol.prices import PriceTable
from protocol.transport.contract import Message, Transport

RELEASE_SECONDS = 5.0
RECEIPT_SECONDS = 10.0
POLL_SECONDS = 0.05

Ending = Literal["drained", "reload"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker takes on."""

    slots: int = 4
    """Tasks at once."""
    processes: int = 2
    """Processes for agents that keep the interpreter busy."""
    drain_seconds: float = 25
    """How long a drained worker may finish what it runs."""
    republish_seconds: float = 5
    """How long a discovery waits for its receipt before it is published again."""
    max_buffered_bytes: int = 64 * 1024 * 1024
    """Bound on discoveries that wait for their receipts."""
    probe_seconds: float = 120
    """How long a call may take that finds out whether a provider is back."""
    prices: PriceTable = field(default_factory=PriceTable)
    """What calls of models cost."""


class Worker:
    """One incarnation of a worker on one transport. `chance` in [0, 1) spreads retries."""

    def __init__(
        self,
        identity: Identity,
        agents: Mapping[str, Agent],
        transport: Transport,
        pulse: Pulse,
        limits: Limits,
        observers: Observers,
        chance: Callable[[], float],
    ) -> None:
        self.ledger = Ledger(identity, tuple(agents), limits.slots, told_builds(agents))
        self._agents = agents
        self._transport = transport
        self._pulse = pulse
        self._limits = limits
        self._observers = observers
        self._chance = chance
        self._ending: Ending = "drained"
        self._draining = anyio.Event()
        self.executor = Executor(limits.slots, limits.processes)
        self._board = Board(transport, identity, chance)
        self._providers = Providers(self._board, limits.probe_seconds, identity.wall_ms, limits.prices)
        self._permits = Permits(self._board, identity.wall_ms(), chance)
        self._outbox = Outbox(
            transport,
            self.ledger,
            observers,
            republish_seconds=limits.republish_seconds,
            max_bytes=limits.max_buffered_bytes,
            freed=self._top_up,
            chance=chance,
        )

    async def run(self) -> Ending:
        """Works until drained; returns how it ended."""
        async with anyio.create_task_group() as tasks:
            self._assemble(tasks)
            control = subjects.control(self.ledger.identity.worker)
            self._observers.notify(Offered(self.ledger.agents, self.ledger.slots))
            async with (
                self._transport.subscribe(control, self._hear),
                self._transport.subscribe(subjects.BREAKERS, self._providers.hear),
                self._pulse.beating(self.ledger),
                self._intake.pulling(),
            ):
                tasks.start_soon(self._outbox.send, name="outbox")
                tasks.start_soon(self._outbox.republish, name="outbox, again")
                tasks.start_soon(self._permits.ask, name="permits")
                await self._draining.wait()
                await self._finish()
            tasks.cancel_scope.cancel()
        return self._ending

    def drain(self, ending: Ending = "drained") -> None:
        """Begins nothing new; what runs may finish."""
        if self.ledger.draining:
            return
        self._ending = ending
        self.ledger.draining = True
        self.ledger.changes += 1
        self._intake.trim()
        self._observers.notify(Draining())
        self._draining.set()

    def _assemble(self, tasks: TaskGroup) -> None:
        self._runner = Runner(
            tasks,
            self._agents,
            self._board,
            self.ledger,
            self._outbox,
            self.executor,
            self._observers,
            self._top_up,
            self._providers,
            self._permits,
        )
        claims = Claims(
            tasks,
            self._board,
            self.ledger,
            self._observers,
            start=self._runner.start,
            freed=self._top_up,
            sending=self._trim,
            chance=self._chance,
        )
        self._intake = Intake(self._transport, self.ledger, claims.add, self._observers)

    def _top_up(self) -> None:
        self._intake.top_up()

    def _trim(self) -> None:
        self._intake.trim()

    async def _finish(self) -> None:
        """Lets tasks finish, gives back the others, and waits for receipts, each for a bounded time."""
        await _until(lambda: not self.ledger.taken, self._limits.drain_seconds)
        self._runner.release()
        await _until(lambda: not self.ledger.taken, RELEASE_SECONDS)
        await _until(lambda: not self._outbox, RECEIPT_SECONDS)
        if self._outbox:
            _log.warning(
                "%d discoveries leave without a receipt: their tasks are run again", len(self._outbox)
            )

    def _hear(self, message: Message) -> None:
        try:
            control = decode_as(message.data, Control)
        except InvalidMessage as error:
            _log.error("order on %s refused: %s", message.subject, error)
            self._observers.notify(MessageRefused(message.subject, str(error)))
            return
        for _, token in control.settled:
            self._receive(token, None)
        for refusal in control.stale:
            self._receive(refusal.token, refusal)
        for lease in control.drop:
            self._drop(lease)
        if control.order == "drain":
            self.drain()
        elif control.order == "reload":
            self.drain("reload")
        elif control.order == "permits":
            self._permits.ring()

    def _receive(self, token: str, refusal: Refusal | None) -> None:
        """A receipt for what still runs: somebody else has ended the task."""
        if not self._outbox.settle(token, refusal):
            self._runner.lose(token)

    def _drop(self, lease: Lease) -> None:
        if not self._runner.lose(lease.token):
            self._outbox.discard(lease.token)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Returns when the condition holds, or the time is up."""
    with anyio.move_on_after(seconds):
        while not condition():  # noqa: ASYNC110 - once in a life; no hot path should pay for it
            await anyio.sleep(POLL_SECONDS)
