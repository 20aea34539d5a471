"""The worker as a process: its connections, its signals and its exit codes."""

import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import anyio

from agents.agent import Agent
from agents.exposition import exposing
from agents.identity import Identity
from agents.metrics import WorkerMetrics
from agents.observations import BusError, Observers
from agents.pulse import ThreadPulse
from agents.registry import load_agents
from agents.settings import WorkerSettings
from agents.worker_core import Ending, Limits, Worker
from protocol.exits import Exit
from protocol.prices import PriceTable
from protocol.transport.contract import Transport
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport

WATCH_SECONDS = 0.25
REPEAT_SECONDS = 30.0
"""The same error of the bus is a warning at most so often."""

_log = logging.getLogger(__name__)


async def run_worker(settings: WorkerSettings) -> int:
    """Runs a worker until it is drained; returns the exit code of the process.

    :raises InvalidSettings: when there is no agent to offer, or the metrics' address cannot be used.
    :raises InvalidAgent: for an agent that cannot run.
    :raises TransportUnavailable: when the bus cannot be reached at the start.
    """
    observers = Observers()
    told = settings.worker
    agents = load_agents(told.agents, build=told.build, compatible=told.compatible)
    process = _Process(settings, agents, observers)
    with _metrics(settings, observers):
        return await process.run()


@contextmanager
def _metrics(settings: WorkerSettings, observers: Observers) -> Generator[None]:
    worker = settings.worker
    if not worker.metrics_port:
        yield
        return
    metrics = WorkerMetrics(_version())
    observers.subscribe(metrics)
    patience = 3 * settings.liveness.heartbeat_seconds
    with exposing(metrics, worker.metrics_host, worker.metrics_port, pulse_patience_seconds=patience):
        yield


class _Process:
    """One run of a worker with everything around it."""

    def __init__(self, settings: WorkerSettings, agents: Mapping[str, Agent], observers: Observers) -> None:
        self._settings = settings
        self._agents = agents
        self._observers = observers
        self._closed = ""
        """Why the bus is out of reach for good; set from whichever thread learns it."""
        self._said: dict[str, float] = {}

    async def run(self) -> int:
        identity = Identity(self._settings.worker.name, secrets.token_hex(8), _version(), _wall_ms)
        pulse = ThreadPulse(
            lambda: self._connect("pulse"), self._settings.liveness.heartbeat_seconds, self._observers
        )
        ending: Ending | None = None
        busy_threads = 0
        async with anyio.create_task_group() as tasks, self._connect("worker") as transport:
            worker = Worker(
                identity, self._agents, transport, pulse, self._limits(), self._observers, random.random
            )
            tasks.start_soon(_obey_signals, worker, name="signals")
            tasks.start_soon(self._watch_connection, tasks.cancel_scope, name="connection")
            _log.info("worker %s offers %s", identity.worker, ", ".join(self._agents))
            ending = await worker.run()
            busy_threads = worker.executor.busy_threads
            tasks.cancel_scope.cancel()
        if ending is None:
            _log.critical("%s", self._closed)
        return _leave(ending, busy_threads)

    def _limits(self) -> Limits:
        worker = self._settings.worker
        return Limits(
            slots=worker.concurrency,
            processes=worker.processes or os.cpu_count() or 1,
            drain_seconds=worker.drain_seconds,
            republish_seconds=worker.republish_seconds,
            max_buffered_bytes=worker.max_buffered_bytes,
            probe_seconds=self._settings.breaker.probe_seconds,
            prices=PriceTable(self._settings.prices.models),
        )

    def _connect(self, role: str) -> AbstractAsyncContextManager[Transport]:
        nats = self._settings.nats
        return JetStreamTransport(
            JetStreamSettings(
                servers=tuple(nats.url.split(",")),
                name=f"{self._settings.worker.name} ({role})",
                user=nats.user,
                password=nats.password.get_secret_value(),
                inbox_prefix=nats.inbox_prefix,
                connect_timeout_seconds=nats.connect_timeout_seconds,
            ),
            on_error=partial(self._bus_error, role),
            on_closed=self._connection_closed,
        )

    def _bus_error(self, role: str, error: Exception) -> None:
        """Called from the loop or from the pulse's thread. An outage says the same at every attempt."""
        text, now = f"{role}: {error}", time.monotonic()
        repeated = now - self._said.get(text, -REPEAT_SECONDS) < REPEAT_SECONDS
        if not repeated:
            self._said = {said: at for said, at in self._said.items() if now - at < REPEAT_SECONDS}
            self._said[text] = now
        _log.log(logging.DEBUG if repeated else logging.WARNING, "%s", text)
        self._observers.notify(BusError())

    def _connection_closed(self, cause: str) -> None:
        self._closed = cause

    async def _watch_connection(self, worker: anyio.CancelScope) -> None:
        """A worker without a bus must not linger: somebody restarts the process."""
        while not self._closed:  # noqa: ASYNC110 - told from any thread, and an event belongs to one loop
            await anyio.sleep(WATCH_SECONDS)
        worker.cancel()


async def _obey_signals(worker: Worker) -> None:
    """The first signal drains, the second ends at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if worker.ledger.draining:
                _exit_now(Exit.INTERRUPTED)
            _log.warning("%s: finishing what runs; once more to stop at once", signal.Signals(number).name)
            worker.drain()


def _leave(ending: Ending | None, busy_threads: int) -> int:
    """The exit code. A thread that an agent left hanging must not keep the process alive."""
    code = Exit.FAILED if ending is None else Exit.OK
    if busy_threads:
        _log.warning("%d threads of agents still run and are abandoned", busy_threads)
    if ending == "reload":
        _flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - our own command line, once more
    if busy_threads:
        _exit_now(code)
    return code


def _exit_now(code: int) -> NoReturn:
    _flush()
    os._exit(code)


def _flush() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _version() -> str:
    try:
        return version("swarmboard")
    except PackageNotFoundError:
        return "0"
