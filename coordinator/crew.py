"""Worker processes on this machine: started, started again when they die, drained at the end."""

import logging
import os
import sysconfig
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from coordinator.embedded.process import GuardedProcess, start_guarded

DRAIN_SECONDS = 20.0
RESTART_SECONDS = 1.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def crew(
    count: int, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str]
) -> AsyncGenerator[None]:
    """`count` workers with these arguments, for the length of the context. Their logs go to `folder`.

    `environ` is laid over this process's environment. None outlives this process, however it ends.
    """
    await anyio.Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    program = Path(sysconfig.get_path("scripts")) / "worker"
    environment = {**os.environ, **environ}
    async with anyio.create_task_group() as tasks:
        posts = [
            _Post(f"{os.uname().nodename.partition('.')[0][:40]}-{os.getpid()}-{number}", folder)
            for number in range(1, count + 1)
        ]
        for post in posts:
            command = [str(program), "--name", post.name, *arguments]
            tasks.start_soon(post.keep_filled, command, environment, name=f"worker {post.name}")
        try:
            yield
        finally:
            for post in posts:
                post.stop()
            with anyio.move_on_after(DRAIN_SECONDS + 5, shield=True):
                for post in posts:
                    await post.stopped.wait()
            tasks.cancel_scope.cancel()


class _Post:
    """One worker's place: filled again when its process ends before its time."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = "".join(letter if letter.isalnum() else "-" for letter in name)
        self.stopped = anyio.Event()
        self._folder = folder
        self._stopping = anyio.Event()
        self._process: GuardedProcess | None = None

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.stop()

    async def keep_filled(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            while not self._stopping.is_set():
                log = self._folder / f"{self.name}.log"
                self._process = await start_guarded(
                    command,
                    folder=Path.cwd(),
                    log=log,
                    pid_file=self._folder / f"{self.name}.pid",
                    grace_seconds=DRAIN_SECONDS,
                    environ=environment,
                )
                if self._stopping.is_set():
                    self._process.stop()
                code = await self._process.wait()
                if not self._stopping.is_set():
                    _log.warning(
                        "worker %s ended with code %d (see %s); starting it again", self.name, code, log
                    )
                    with anyio.move_on_after(RESTART_SECONDS):
                        await self._stopping.wait()
        finally:
            if self._process is not None:
                self._process.stop()
            self.stopped.set()
