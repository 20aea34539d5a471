"""Disks that fail: system calls of a server answer with an error, by strace, where that is allowed."""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.servers import RedisServer


@cache
def may_trace() -> bool:
    """Whether calls of another process can be made to fail here."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            with _traced(other.pid, "--trace=fdatasync"):
                return True
        except PermissionError:
            return False
        finally:
            other.kill()


@contextmanager
def full_disk(server: RedisServer) -> Generator[None]:
    """Nothing more can be written to the append-only file."""
    with _traced(
        server.pid, "--trace=write", "--inject=write:error=ENOSPC", f"--trace-path={newest(server)}"
    ):
        yield


@contextmanager
def failing_fsync(server: RedisServer) -> Generator[None]:
    """What was written can't be brought to the disk."""
    with _traced(server.pid, "--trace=fdatasync", "--inject=fdatasync:error=EIO"):
        yield


def newest(server: RedisServer) -> Path:
    """The append-only file that Redis writes to."""
    files = (server.folder / "appendonlydir").glob("*.incr.aof")
    return max(files, key=lambda file: file.stat().st_mtime_ns)


@contextmanager
def _traced(pid: int, *options: str) -> Generator[None]:
    """:raises PermissionError: where no process may look at another."""
    command = ["strace", "--follow-forks", f"--attach={pid}", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise PermissionError(said)
        try:
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()
