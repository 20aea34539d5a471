"""The commands in processes that need not import anything first: forked from one that holds it all already.

Each is a process of its own, with its folder, environment, streams and signals, for a tenth of what a new
interpreter costs. That the installed scripts find all they need, tests that start those show.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import agents.cli
import coordinator.cli
from tests.support.servers import _die_with_parent

COMMANDS = {"coordinator": coordinator.cli.run, "worker": agents.cli.run}
_context = get_context("forkserver")
_context.set_forkserver_preload(
    [
        *(__name__, "agents.worker", "agents.dspy_agent", "uvloop"),
        *("anyio._backends._asyncio", "anyio.streams.tls"),
        *(f"coordinator.commands.{verb}" for verb in coordinator.cli.VERBS),
    ]
)
_lock = Lock()
"""To start a process is to look after all others, and an exit code can be read but once."""


@dataclass(frozen=True)
class Streams:
    """Files for the standard streams; what there is already is kept."""

    stdout: Path
    stderr: Path
    stdin: Path = Path(os.devnull)


@dataclass(frozen=True)
class Forked:
    """A process, with what `subprocess.Popen` has for one."""

    process: BaseProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        with _lock:
            return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        connection.wait([self.process.sentinel], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    streams: Streams,
    first: Callable[[], None] | None = None,
) -> Forked:
    """Starts `coordinator …` or `worker …`, with no other environment. `first` is called in the process."""
    arguments = (tuple(command), str(folder), dict(environment), streams, first)
    process = _context.Process(target=_live, args=arguments, daemon=True)
    with _lock:
        process.start()
    return Forked(process)


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    timeout_seconds: float = 60.0,
) -> subprocess.CompletedProcess[bytes]:
    """Waits for a command that ends by itself, as `subprocess.run` does."""
    with TemporaryDirectory() as kept:
        streams = Streams(*(Path(kept) / name for name in ("stdout", "stderr", "stdin")))
        streams.stdin.write_bytes(stdin)
        process = start(command, folder=folder, environment=environment, streams=streams)
        try:
            code = process.wait(timeout_seconds)
        finally:
            process.kill()
        out, err = streams.stdout.read_bytes(), streams.stderr.read_bytes()
        return subprocess.CompletedProcess(command, code, out, err)


def _live(
    command: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    streams: Streams,
    first: Callable[[], None] | None,
) -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = streams.stdin.open(encoding="utf-8")
    for number, path in ((1, streams.stdout), (2, streams.stderr)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = map(os.path.abspath, filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    if first is not None:
        first()
    sys.exit(COMMANDS[command[0]](command[1:]))
