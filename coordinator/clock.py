"""Time and randomness as the shell hands them to decisions. The monotonic clock is the event loop's."""

import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """What a simulation replaces."""

    def now_ms(self) -> int:
        """Wall clock, UTC epoch milliseconds."""
        ...

    def token(self) -> str:
        """A fresh fencing token, never seen before."""
        ...

    def draw(self) -> float:
        """A number in [0, 1), for jitter."""
        ...


class SystemClock:
    """The real one."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def token(self) -> str:
        return secrets.token_hex(12)

    def draw(self) -> float:
        return random.random()
