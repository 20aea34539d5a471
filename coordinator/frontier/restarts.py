"""Which arms have restarted. Whether one has depends on the pooled dispersion, which moves with every
reward; but only the few whose critical dispersion it passes change sides.
"""

import heapq
from collections.abc import Iterator

from coordinator.frontier.staircase import Arm, Restart

_Entry = tuple[float, int, Arm, Restart]
_SLACK = 32


class Restarts:
    """Arms with a restart, on two lazy heaps: those that made it, and those that have not."""

    def __init__(self) -> None:
        self._dispersion = 1.0
        self._restarted: list[_Entry] = []
        self._waiting: list[_Entry] = []
        self._living = 0

    def add(self, arm: Arm) -> None:
        """Decides for an arm whose `restart` is set."""
        restart = arm.restart
        if restart is None:
            return
        self._living += 1
        arm.restarted = self._dispersion < restart.critical
        if arm.restarted:
            heapq.heappush(self._restarted, (restart.critical, arm.opened, arm, restart))
        else:
            heapq.heappush(self._waiting, (-restart.critical, arm.opened, arm, restart))

    def remove(self, arm: Arm) -> None:
        if arm.restart is None:
            return
        arm.restart, arm.restarted = None, False
        self._living -= 1
        if len(self._restarted) + len(self._waiting) > 2 * self._living + _SLACK:
            self._restarted = [entry for entry in self._restarted if entry[2].restart is entry[3]]
            self._waiting = [entry for entry in self._waiting if entry[2].restart is entry[3]]
            heapq.heapify(self._restarted)
            heapq.heapify(self._waiting)

    def move(self, dispersion: float) -> Iterator[Arm]:
        """Sets the dispersion; yields each arm that must change sides, removed, to be added again."""
        self._dispersion = dispersion
        while self._restarted and self._restarted[0][0] <= dispersion:
            yield from self._taken(heapq.heappop(self._restarted))
        while self._waiting and -self._waiting[0][0] > dispersion:
            yield from self._taken(heapq.heappop(self._waiting))

    def _taken(self, entry: _Entry) -> Iterator[Arm]:
        arm = entry[2]
        if arm.restart is entry[3]:
            arm.restart, arm.restarted = None, False
            self._living -= 1
            yield arm
