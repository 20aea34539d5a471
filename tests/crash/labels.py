"""Named points of a process: written down as they are passed, and fatal or long where a test says so.

A point is what is about to happen, or has just happened, and how often that was so before in this process.
"""

import functools
import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

_counts: Counter[str] = Counter()


def label(name: str) -> None:
    """Passes a point: `SWARM_POINTS` names the file for it, `SWARM_KILL_AT` and `SWARM_FREEZE_AT` the one to
    die at, or to stand still at until somebody lets it go on.
    """
    if "SWARM_POINTS" not in os.environ:
        return
    point = f"{os.environ['SWARM_PROCESS']}.{name}#{_counts[name]}"
    _counts[name] += 1
    file = os.open(os.environ["SWARM_POINTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{point}\n".encode())
    os.close(file)
    if point == os.environ.get("SWARM_KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    if point == os.environ.get("SWARM_FREEZE_AT"):
        os.kill(os.getpid(), signal.SIGSTOP)


def around(owner: Any, method: str, name: Callable[..., str | None]) -> None:
    """Makes points before and after each call of an async method; a call without a `name` is none."""
    plain = getattr(owner, method)

    @functools.wraps(plain)
    async def call(*args: Any, **kwargs: Any) -> Any:
        what = name(*args, **kwargs)
        if what:
            label(f"{what}.before")
        result = await plain(*args, **kwargs)
        if what:
            label(f"{what}.after")
        return result

    setattr(owner, method, call)


def around_sync(owner: Any, method: str, name: Callable[..., str | None]) -> None:
    """The same for a plain method."""
    plain = getattr(owner, method)

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        what = name(*args, **kwargs)
        if what:
            label(f"{what}.before")
        result = plain(*args, **kwargs)
        if what:
            label(f"{what}.after")
        return result

    setattr(owner, method, call)
