"""The heartbeat: every `heartbeat_seconds`, at once when asked, and at changes at most once a second.

A `ThreadPulse` beats from a thread with its own loop and connection, so that an agent that blocks the
worker's loop does not make the worker look dead: its progress counters stand still instead. A `LoopPulse`
beats in the worker's own loop, for simulation in virtual time.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal

from agents.ledger import Ledger
from agents.observations import Observers, Pulsed
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage
from protocol.messages import Control
from protocol.transport.contract import Message, Transport

CHANGE_SECONDS = 1.0
STOP_SECONDS = 5.0
"""How long the last beat may take to leave."""

Connect = Callable[[], AbstractAsyncContextManager[Transport]]

_log = logging.getLogger(__name__)


class Pulse(Protocol):
    def beating(self, ledger: Ledger) -> AbstractAsyncContextManager[None]:
        """Beats for the length of the context; one last beat leaves at its end."""
        ...


class Beater:
    """Beats over one transport, in whatever loop it runs."""

    def __init__(
        self, transport: Transport, ledger: Ledger, heartbeat_seconds: float, observers: Observers
    ) -> None:
        self._transport = transport
        self._ledger = ledger
        self._heartbeat_seconds = heartbeat_seconds
        self._observers = observers
        self._bell = anyio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Beats until stopped."""
        control = subjects.control(self._ledger.identity.worker)
        async with self._transport.subscribe(control, self._hear):
            while not self._stopped:
                await self._rest(self.beat())
        self.beat()

    def stop(self) -> None:
        self._stopped = True
        self._bell.set()

    def beat(self) -> int:
        """Sends one beat; returns the count of changes that it includes."""
        changes = self._ledger.changes
        identity = self._ledger.identity
        self._transport.emit(subjects.heartbeat(identity.worker), identity.seal(self._ledger.beat()))
        self._observers.notify(Pulsed(identity.wall_ms()))
        return changes

    async def _rest(self, told: int) -> None:
        """Returns when the next beat is due: asked for, something changed, or the time is up."""
        due = anyio.current_time() + self._heartbeat_seconds
        while (left := due - anyio.current_time()) > 0:
            with anyio.move_on_after(min(CHANGE_SECONDS, left)):
                await self._bell.wait()
                self._bell = anyio.Event()
                return
            if self._ledger.changes != told:
                return

    def _hear(self, message: Message) -> None:
        if b'"beat"' not in message.data:
            return
        try:
            if decode_as(message.data, Control).order == "beat":
                self._bell.set()
        except InvalidMessage:
            _log.debug("the worker's main loop reports an invalid order")


class LoopPulse:
    """Beats in the caller's loop, on the caller's connection."""

    def __init__(self, transport: Transport, heartbeat_seconds: float, observers: Observers) -> None:
        self._transport = transport
        self._heartbeat_seconds = heartbeat_seconds
        self._observers = observers

    @asynccontextmanager
    async def beating(self, ledger: Ledger) -> AsyncGenerator[None]:
        beater = Beater(self._transport, ledger, self._heartbeat_seconds, self._observers)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beater.run, name="pulse")
            yield
            beater.stop()


class ThreadPulse:
    """Beats from a thread with its own loop and the connection that `connect` opens there."""

    def __init__(self, connect: Connect, heartbeat_seconds: float, observers: Observers) -> None:
        self._connect = connect
        self._heartbeat_seconds = heartbeat_seconds
        self._observers = observers

    @asynccontextmanager
    async def beating(self, ledger: Ledger) -> AsyncGenerator[None]:
        thread = _PulseThread(self, ledger)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thread.supervise, name="pulse")
            try:
                yield
            finally:
                thread.stop()
                tasks.cancel_scope.deadline = anyio.current_time() + STOP_SECONDS

    async def run(self, ledger: Ledger, thread: "_PulseThread") -> None:
        """What runs in the thread's own loop."""
        async with self._connect() as transport, BlockingPortal() as portal:
            beater = Beater(transport, ledger, self._heartbeat_seconds, self._observers)
            thread.started(portal, beater)
            await beater.run()


class _PulseThread:
    """The thread as the worker's loop sees it: it starts once, stops when told, and fails loudly."""

    def __init__(self, pulse: ThreadPulse, ledger: Ledger) -> None:
        self._pulse = pulse
        self._ledger = ledger
        self._stopping = False
        self._portal: BlockingPortal | None = None
        self._beater: Beater | None = None

    async def supervise(self) -> None:
        limiter = anyio.CapacityLimiter(1)
        await anyio.to_thread.run_sync(
            anyio.run, self._pulse.run, self._ledger, self, limiter=limiter, abandon_on_cancel=True
        )

    def started(self, portal: BlockingPortal, beater: Beater) -> None:
        self._portal, self._beater = portal, beater
        if self._stopping:
            beater.stop()

    def stop(self) -> None:
        self._stopping = True
        if self._portal is not None and self._beater is not None:
            try:
                self._portal.start_task_soon(self._beater.stop)
            except RuntimeError:
                _log.debug("the pulse had stopped already")
