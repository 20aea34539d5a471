"""Worker processes on this machine: started, started again when they die, drained at the end."""

import logging
import os
import sysconfig
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from coordinator.embedded.process import GuardedProcess, start_guarded
from protocol.errors import ServerFailed
from protocol.exits import Exit, first_swarm_error

DRAIN_SECONDS = 15.0
DRAIN_VARIABLE = "SWARMBOARD_WORKER_DRAIN_SECONDS"
GRACE_SECONDS = 25.0
"""After which a worker that was told to end is killed: time to drain, and to say so."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 10.0
"""A worker that lived for so long has started well: its death is a new story."""
KILLED = 128
"""Codes above say by which signal it was killed, which is not the worker's own failure."""
FAILED_STARTS = 5
LOG_LINES = 15
KEPT_LOGS = 50

_log = logging.getLogger(__name__)


@asynccontextmanager
async def crew(
    count: int, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str]
) -> AsyncGenerator[None]:
    """`count` workers with these arguments, for the length of the context. Their logs go to `folder`.

    `environ` is laid over this process's environment. None outlives this process, however it ends.

    :raises ServerFailed: when a worker refuses its arguments, or fails FAILED_STARTS times at its start.
    """
    await anyio.to_thread.run_sync(_make_room, folder)
    program = Path(sysconfig.get_path("scripts")) / "worker"
    drain = {DRAIN_VARIABLE: f"{DRAIN_SECONDS:g}"}
    environment = {**drain, **os.environ, **environ}
    posts = [_Post(f"{_host()}-{os.getpid()}-{number}", folder) for number in range(1, count + 1)]
    try:
        async with anyio.create_task_group() as tasks:
            for post in posts:
                command = [str(program), "--name", post.name, *arguments]
                tasks.start_soon(post.keep_filled, command, environment, name=f"worker {post.name}")
            try:
                yield
            finally:
                await _end(posts, tasks)
    except BaseExceptionGroup as group:
        if (known := first_swarm_error(group)) is None:
            raise
        raise known from None


async def _end(posts: Sequence["_Post"], tasks: TaskGroup) -> None:
    """Lets the workers finish what they hold."""
    for post in posts:
        post.stop()
    with anyio.CancelScope(shield=True):
        for post in posts:
            await post.stopped.wait()
    tasks.cancel_scope.cancel()


def _host() -> str:
    name = os.uname().nodename.partition(".")[0][:40]
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _make_room(folder: Path) -> None:
    """Makes the folder; of older logs the newest are kept."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime, reverse=True)
    for log in logs[KEPT_LOGS:]:
        log.unlink(missing_ok=True)


class _Post:
    """One worker's place: filled again when its process ends before its time."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.stopped = anyio.Event()
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._stopping = anyio.Event()
        self._process: GuardedProcess | None = None

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.stop()

    async def keep_filled(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """:raises ServerFailed: when it cannot be filled."""
        failed = 0
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._stopping.is_set():
                started = anyio.current_time()
                code = await self._fill(command, environment)
                if self._stopping.is_set():
                    return
                settled = anyio.current_time() - started >= SETTLED_SECONDS or not 0 < code < KILLED
                failed = 0 if settled else failed + 1
                pause = FIRST_PAUSE_SECONDS if settled else pause
                if code == Exit.USAGE or failed == FAILED_STARTS:
                    raise self._failure(code)
                if settled or failed == 1:
                    _log.warning(
                        "worker %s ended with code %d; starting it again (see %s)", self.name, code, self._log
                    )
                with anyio.move_on_after(pause):
                    await self._stopping.wait()
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            if self._process is not None:
                self._process.stop()
                with anyio.CancelScope(shield=True):
                    await self._process.wait()
            self.stopped.set()

    async def _fill(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """One life of the worker; its exit code."""
        self._process = await start_guarded(
            command,
            folder=Path.cwd(),
            log=self._log,
            pid_file=self._folder / f"{self.name}.pid",
            grace_seconds=GRACE_SECONDS,
            environ=environment,
        )
        if self._stopping.is_set():
            self._process.stop()
        return await self._process.wait()

    def _failure(self, code: int) -> ServerFailed:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return ServerFailed(
            f"worker {self.name}",
            f"does not start: it ended with code {code}",
            f"the whole log is in {self._log}",
            "\n".join(lines[-LOG_LINES:]),
        )
