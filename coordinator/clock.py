"""Time and randomness as the shell hands them to decisions. The monotonic clock is the event loop's."""

import random
import secrets
import time
from typing import Protocol

TOKEN_BYTES = 12
TOKENS = 64
"""Drawn from the system at once: a call of it costs more than the rest of a dispatch's token."""


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

    def __init__(self) -> None:
        self._tokens: list[str] = []

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def token(self) -> str:
        if not self._tokens:
            entropy = secrets.token_hex(TOKEN_BYTES * TOKENS)
            self._tokens = [
                entropy[at : at + 2 * TOKEN_BYTES] for at in range(0, len(entropy), 2 * TOKEN_BYTES)
            ]
        return self._tokens.pop()

    def draw(self) -> float:
        return random.random()
