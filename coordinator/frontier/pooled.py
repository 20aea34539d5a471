"""What all directions of a frontier say together: the clock, the spread of rewards, how yields decay.

Contributions are integers and each a function of one row, so that the sums do not depend on the
order of events, and a restored frontier has the same as one that never stopped.
"""

import math
from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.promises import Outlook, Promise, Promises, prior_of

LEAST_DISPERSION = 0.02
_ERRORS = 1.96
"""Standard errors to the ends of a 95 % interval."""

_DECAYS = 1 << 20
"""A decay is a multiple of one over this, so that what is computed from it keeps its order."""


class Contribution(NamedTuple):
    """Addends of one row, or sums over rows; rewards in micro-units, variances in micro-units squared."""

    visits: int = 0
    rewards: int = 0
    repeated: int = 0
    """Directions with two visits or more; what follows down to `before` is about them."""
    within: int = 0
    """Variance of the rewards of a direction, times its visits."""
    flips: int = 0
    """The variance that coin flips of the same mean would have, times its visits."""
    after: int = 0
    """Rewards without a direction's first."""
    before: int = 0
    """Rewards without a direction's last."""
    first: Promise | None = None


NOTHING = Contribution()


def contribution(row: DirectionRow) -> Contribution:
    visits, total = row.visits, row.reward_sum_micro
    if not visits:
        return NOTHING
    first = Promise(prior_of(row), row.first_micro)
    if visits == 1:
        return Contribution(1, total, 0, 0, 0, 0, 0, first)
    level = total * total // visits
    scatter = row.reward_squares - level
    within = scatter * visits // (visits - 1)
    flips = total * MICRO - level + scatter // (visits - 1)
    after, before = total - row.first_micro, total - row.yields[-1]
    return Contribution(visits, total, 1, within, flips, after, before, first)


class Learned(NamedTuple):
    """What the sums say."""

    dispersion: float
    """Variance within directions, over that of coin flips of the same means; in [0.02, 1]."""
    decay: float
    """The ratio of a direction's next reward to its last one, at the top of its 95 % interval; at most 1."""
    planned: Outlook
    """Of directions that no other of this frontier led to, and in `spawned` of those that one did."""
    spawned: Outlook


class Pooled:
    """Sums over all directions ever opened, retired ones included."""

    __slots__ = ("_learned", "in_flight", "opened", "promises", "sums")

    def __init__(self) -> None:
        self.opened = 0
        self.in_flight = 0
        self.sums = NOTHING
        self.promises = [Promises(), Promises()]
        """Of planned directions, and of spawned ones."""
        self._learned: Learned | None = None

    def replace(self, old: Contribution, new: Contribution, spawned: bool) -> None:
        v, r, d, w, f, a, b, first = self.sums
        v0, r0, d0, w0, f0, a0, b0, first0 = old
        v1, r1, d1, w1, f1, a1, b1, first1 = new
        self.sums = Contribution(
            v + v1 - v0, r + r1 - r0, d + d1 - d0, w + w1 - w0, f + f1 - f0, a + a1 - a0, b + b1 - b0, first
        )
        if first0 != first1:
            self.promises[spawned].replace(first0, first1)
        self._learned = None

    @property
    def started(self) -> int:
        """Completed and unfinished visits: the clock."""
        return self.sums.visits + self.in_flight

    @property
    def learned(self) -> Learned:
        if self._learned is None:
            self._learned = self._learn()
        return self._learned

    def _learn(self) -> Learned:
        visits, rewards, repeated, within, flips, after, before, _ = self.sums
        dispersion = min(1.0, max(LEAST_DISPERSION, within / flips)) if flips > 0 else 1.0
        decay = 1.0
        if before > 0:
            # Summed over a direction, rewards after and before differ by its last and first alone.
            mean = rewards / (MICRO * visits)
            error = _ERRORS * math.sqrt(2 * repeated * mean * (1.0 - mean) * dispersion) * MICRO
            decay = min(_DECAYS, round((after + error) / before * _DECAYS)) / _DECAYS
        planned, spawned = self.promises
        return Learned(dispersion, decay, planned.outlook, spawned.outlook)

    @property
    def dispersion(self) -> float:
        return self.learned.dispersion

    @property
    def cautious_dispersion(self) -> float:
        """The dispersion with two coin flips imagined first: high while little is known."""
        imagined = MICRO * MICRO // 2
        return min(1.0, (self.sums.within + imagined) / (self.sums.flips + imagined))
