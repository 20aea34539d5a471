"""A coordinator as a process: connections, metrics, health, signals."""

import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import anyio
from anyio.abc import TaskGroup

from coordinator import connections
from coordinator.clock import Clock, SystemClock
from coordinator.http import Vitals
from coordinator.metrics import CoordinatorMetrics
from coordinator.observations import LeaderGained, LeaderLost, Observation, Observers, StoreRetry
from coordinator.service import Coordinator
from coordinator.settings import Settings
from coordinator.web.server import serving
from protocol.errors import SwarmError, TransportUnavailable
from protocol.ids import TOKEN_PATTERN

VITALS_SECONDS = 0.5

_log = logging.getLogger(__name__)


def default_name() -> str:
    """A name that no other coordinator has, as far as hosts have names of their own."""
    host = socket.gethostname().partition(".")[0]
    name = f"{host[:48]}-{os.getpid()}"
    return name if TOKEN_PATTERN.fullmatch(name) else f"coordinator-{os.getpid()}"


@asynccontextmanager
async def running_coordinator(settings: Settings, *, port: int | None = None) -> AsyncGenerator[int]:
    """A coordinator in this process for the length of the context; yields its HTTP port.

    :raises StoreUnavailable: when Redis cannot be used.
    :raises TransportUnavailable: when NATS cannot be reached, or later closes the connection for good.
    :raises InvalidSettings: when the HTTP address cannot be used.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        metrics = CoordinatorMetrics(version("swarmboard"))
        observers = Observers()
        observers.subscribe(metrics)
        observers.subscribe(_say)
        vitals = Vitals(metrics.render)
        http = settings.http
        wanted = http.port if port is None else port
        name = default_name()
        used = stack.enter_context(serving(settings, wanted, vitals.pages, name=f"{name}-http"))
        tasks = await stack.enter_async_context(_ungrouped())
        await stack.enter_async_context(_serving(settings, clock, observers, vitals, tasks))
        yield used


@asynccontextmanager
async def _serving(
    settings: Settings, clock: Clock, observers: Observers, vitals: Vitals, tasks: TaskGroup
) -> AsyncGenerator[None]:
    name = default_name()
    closed = anyio.Event()
    causes: list[str] = []

    def on_closed(cause: str) -> None:
        causes.append(cause)
        closed.set()

    async def end_when_closed() -> None:
        await closed.wait()
        raise TransportUnavailable("the connection", f"was closed for good: {causes[0]}")

    async with (
        connections.store(settings) as store,
        connections.transport(
            settings, name=name, on_error=lambda error: _log.warning("bus: %s", error), on_closed=on_closed
        ) as transport,
    ):
        coordinator = Coordinator(store, transport, settings, clock, observers, name=name)
        scope = anyio.CancelScope()
        done = anyio.Event()

        async def serve() -> None:
            try:
                with scope:
                    await coordinator.serve()
            finally:
                done.set()

        tasks.start_soon(serve, name="coordinator")
        tasks.start_soon(end_when_closed, name="connection")
        tasks.start_soon(_show_vitals, coordinator, vitals, name="vitals")
        try:
            yield
        finally:
            scope.cancel()
            with anyio.move_on_after(5, shield=True):
                await done.wait()


async def _show_vitals(coordinator: Coordinator, vitals: Vitals) -> None:
    while True:
        vitals.beat(ready=coordinator.ready, leads=len(coordinator.leaders))
        await anyio.sleep(VITALS_SECONDS)


@asynccontextmanager
async def _ungrouped() -> AsyncGenerator[TaskGroup]:
    """A task group that is cancelled at the end, and whose first SwarmError comes out by itself."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        known, others = group.split(SwarmError)
        if known is None or others is not None:
            raise
        error: BaseException = known
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def until_signalled() -> int:
    """Waits for SIGTERM or SIGINT and returns which it was."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            return number
    return signal.SIGTERM


def _say(observation: Observation) -> None:
    """What an operator wants to read in the log."""
    match observation:
        case LeaderGained():
            _log.info("leads run %s", observation.run)
            if observation.lost_events:
                _log.error(
                    "run %s: the store came back without its last %d events",
                    observation.run,
                    observation.lost_events,
                )
        case LeaderLost():
            _log.info("leads run %s no longer: %s", observation.run, observation.reason)
        case StoreRetry():
            _log.warning("the store did not answer (%s); trying again", observation.operation)
        case _:
            pass
