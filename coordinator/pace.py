"""How many dispatches to keep ahead of the claims: what completes while one dispatch travels."""

import math

WINDOW_SECONDS = 5.0
PREFETCH_LIMIT = 512


class Pace:
    """Completion rate, and the shortest time from dispatch to claim of the last one to two windows.

    The shortest and not the mean, as BBR does for round trips (Cardwell et al., 2016): the mean would
    count the waiting that a larger prefetch causes, and feed itself.
    """

    def __init__(self, now: float) -> None:
        self._window = now
        self._completed = 0
        self._rate = 0.0
        self._shortest = math.inf
        self._shortest_before = math.inf

    def completed(self) -> None:
        self._completed += 1

    def claimed(self, wait_seconds: float) -> None:
        self._shortest = min(self._shortest, wait_seconds)

    def prefetch(self, now: float) -> int:
        """At least 1, at most PREFETCH_LIMIT."""
        elapsed = now - self._window
        rate = max(self._rate, self._completed / elapsed) if elapsed > 0.1 else self._rate
        if elapsed > WINDOW_SECONDS:
            self._rate, self._completed, self._window = self._completed / elapsed, 0, now
            self._shortest_before, self._shortest = self._shortest, math.inf
        shortest = min(self._shortest, self._shortest_before)
        if math.isinf(shortest):
            return 1
        return max(1, min(PREFETCH_LIMIT, math.ceil(rate * shortest)))
