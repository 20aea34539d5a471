"""When an estimate no longer holds. Whether an arm has restarted depends on the pooled dispersion, which
moves with every reward; but only the few whose edge it passes change sides.
"""

import heapq

from coordinator.frontier.pooled import LEAST_DISPERSION
from coordinator.frontier.staircase import UNKNOWN, Arm, Estimate

_Entry = tuple[float, int, Arm, Estimate]
_SLACK = 32


class Restarts:
    """Arms with an edge, on two lazy heaps: those that have restarted, and those that have not."""

    def __init__(self) -> None:
        self.dispersion = 1.0
        """For which the arms were estimated."""
        self._restarted: list[_Entry] = []
        self._waiting: list[_Entry] = []
        self._living = 0

    def add(self, arm: Arm) -> None:
        """Once it has been estimated."""
        estimate = arm.estimate
        if estimate.edge <= LEAST_DISPERSION:
            return
        self._living += 1
        if estimate.restarted:
            heapq.heappush(self._restarted, (estimate.edge, arm.opened, arm, estimate))
        else:
            heapq.heappush(self._waiting, (-estimate.edge, arm.opened, arm, estimate))

    def remove(self, arm: Arm) -> None:
        """Before it is estimated anew, or when it closes."""
        if arm.estimate.edge <= LEAST_DISPERSION:
            return
        arm.estimate = UNKNOWN
        self._living -= 1
        if len(self._restarted) + len(self._waiting) > 2 * self._living + _SLACK:
            self._restarted = [entry for entry in self._restarted if entry[2].estimate is entry[3]]
            self._waiting = [entry for entry in self._waiting if entry[2].estimate is entry[3]]
            heapq.heapify(self._restarted)
            heapq.heapify(self._waiting)

    def move(self, dispersion: float) -> list[Arm]:
        """Sets the dispersion; returns the arms whose estimate does not hold for it, to be estimated anew."""
        self.dispersion = dispersion
        passed: list[_Entry] = []
        while self._restarted and self._restarted[0][0] <= dispersion:
            passed.append(heapq.heappop(self._restarted))
        while self._waiting and -self._waiting[0][0] > dispersion:
            passed.append(heapq.heappop(self._waiting))
        return [entry[2] for entry in passed if entry[2].estimate is entry[3]]
