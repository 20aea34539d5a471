"""Runs a program and ends it when the process that asked for it is gone, however it went.

Run by path under `python -I -S`: it imports nothing of ours. Its standard input is a pipe whose
other end only the owner holds. End of file there, or SIGTERM here, means: SIGTERM to the program,
and SIGKILL once the grace is over. On Linux the program also ends when this guard is killed.

    guard.py GRACE_SECONDS PID_FILE PROGRAM [ARGUMENT...]
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

PR_SET_PDEATHSIG = 1


def launch(command: Sequence[str]) -> int:
    """Forks and executes; the program gets every inherited descriptor but the pipe.

    SIGTERM is held back meanwhile: between fork and execution this guard's handler would swallow it.
    """
    libc = ctypes.CDLL(None)
    guard = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if os.getppid() == guard:
            os.execv(command[0], list(command))  # noqa: S606 - the owner says what to run
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(127)


def note_pid(path: str, pid: int) -> None:
    """For the owner to know the program; on a full disk it runs all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, str(pid).encode())
        os.close(descriptor)


def watch(pid: int, wakeup: int, grace_seconds: float) -> int:
    """Returns the program's exit code, a signal's as 128 + its number."""
    deadline: float | None = None
    watched = [0, wakeup]
    while True:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select(watched, [], [], patience)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        told = signal.SIGTERM in os.read(wakeup, 64) if wakeup in ready else False
        if deadline is None and (told or 0 in ready):
            deadline = time.monotonic() + grace_seconds
            watched = [wakeup]
            os.kill(pid, signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Nothing to do: what was written to the wake-up pipe is read in `watch`."""


def main(arguments: Sequence[str]) -> int:
    grace_seconds, pid_file, command = float(arguments[0]), arguments[1], arguments[2:]
    wakeup, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, _wake)
    pid = launch(command)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    note_pid(pid_file, pid)
    code = watch(pid, wakeup, grace_seconds)
    with contextlib.suppress(OSError):
        os.unlink(pid_file)  # noqa: PTH108 - pathlib would double the start-up time
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
