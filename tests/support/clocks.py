"""Wall clocks that are wrong, each for one process, by libfaketime where that is installed.

The monotonic clock stays as it is. A static binary, as nats-server is one, is not deceived.
"""

import contextlib
import os
from functools import cache
from pathlib import Path


@cache
def library() -> Path | None:
    """Where the packages of Debian and its relatives put it."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class WallClock:
    """What a process takes for the time of day: `environ` is for its start, and `set` is heard at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self.set(0)

    @property
    def environ(self) -> dict[str, str]:
        """Empty where the library is not installed."""
        if library() is None:
            return {}
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads that wait for the interpreter's lock spin
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_seconds: float) -> None:
        """So far ahead of the true time, or behind it."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{ahead_seconds:+.0f}\n")
        os.replace(fresh, self._path)  # noqa: PTH105 - whoever reads meanwhile gets the old or the new line


def clear_up() -> None:
    """Removes what the library has left in shared memory, a little for each process that was killed."""
    for left in Path("/dev/shm").glob("*faketime_s*_*"):
        if not Path("/proc", left.name.rpartition("_")[2]).exists():
            with contextlib.suppress(FileNotFoundError):
                left.unlink()
