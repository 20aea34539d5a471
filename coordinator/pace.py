"""How many dispatches to keep ahead of the claims: what completes while one dispatch travels."""

import math

WINDOW_SECONDS = 2.0
SMOOTHING = 0.05
TRANSIT_SECONDS = 0.005
"""From the leader to a worker with a free slot, and its claim back, on one machine or one network."""
PREFETCH_LIMIT = 512


class Pace:
    """Completion rate, and the time from a decision to dispatch until it leaves.

    That time is the leader's own: the group commit. The time until the claim is left out, because
    it holds the waiting for a free slot, which a larger prefetch makes longer: it would feed itself.
    """

    def __init__(self, now: float) -> None:
        self._window = now
        self._completed = 0
        self._rate = 0.0
        self._leaving = 0.0

    def completed(self) -> None:
        self._completed += 1

    def left(self, seconds: float) -> None:
        """A dispatch left so long after it was decided."""
        self._leaving += SMOOTHING * (max(seconds, 0.0) - self._leaving)

    def prefetch(self, now: float) -> int:
        """At least 1, at most PREFETCH_LIMIT."""
        elapsed = now - self._window
        if elapsed > WINDOW_SECONDS:
            self._rate, self._completed, self._window = self._completed / elapsed, 0, now
            elapsed = 0.0
        rate = max(self._rate, self._completed / elapsed) if elapsed > 0.1 else self._rate
        return max(1, min(PREFETCH_LIMIT, math.ceil(rate * (self._leaving + TRANSIT_SECONDS))))
