"""A child under a guard: it never outlives this process, and the terminal's Ctrl-C does not reach it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import Process

GUARD = Path(__file__).with_name("guard.py")
LOG_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class GuardedProcess:
    """A program that runs until it ends, is stopped, or this process is gone."""

    process: Process
    pid_file: Path
    _lifeline: int | None = field(repr=False)

    @property
    def pid(self) -> int | None:
        """The program's own id (not its guard's); None before it has started and after it ended."""
        with suppress(OSError, ValueError):
            return int(self.pid_file.read_text(encoding="ascii"))
        return None

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    def stop(self) -> None:
        """Asks the program to end: SIGTERM now, SIGKILL after its grace. May be called again."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    async def wait(self) -> int:
        """Waits for its end; a negative code says that the guard was killed, and the program with it."""
        code = await self.process.wait()
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            self.pid_file.unlink(missing_ok=True)
        self.stop()
        return code


def _open_log(log: Path) -> int:
    """Opens for appending; one older log is kept."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


async def start_guarded(
    command: Sequence[str],
    *,
    folder: Path,
    log: Path,
    pid_file: Path,
    grace_seconds: float,
    keep: Sequence[int] = (),
    environ: Mapping[str, str] | None = None,
) -> GuardedProcess:
    """Starts a program in `folder`, its output appended to `log`. It inherits the descriptors in `keep`."""
    program = [sys.executable, "-I", "-S", str(GUARD), str(grace_seconds), str(pid_file), *command]
    theirs, ours = os.pipe()
    output = _open_log(log)
    try:
        with anyio.CancelScope(
            shield=True
        ):  # a child that was started must be known, so that it is waited for
            process = await anyio.open_process(
                program,
                stdin=theirs,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environ,
                start_new_session=True,
                pass_fds=keep,
            )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
        os.close(output)
    # The scope swallows nothing: nobody cancels it.
    return GuardedProcess(process, pid_file, ours)  # pyright: ignore[reportPossiblyUnboundVariable]
