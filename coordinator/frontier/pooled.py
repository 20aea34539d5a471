"""What all directions of a frontier say together: the clock, the spread of rewards, how yields decay.

Contributions are integers and each a function of one row, so that the sums do not depend on the
order of events, and a restored frontier has the same as one that never stopped.
"""

import math
from operator import add, sub
from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow

LEAST_DISPERSION = 0.02
_SETTLING = 4
"""Directions that are imagined to have kept what their prior promised, before any has told."""
_ERRORS = 1.96
"""Standard errors to the ends of a 95 % interval."""

_DECAYS = 1 << 20
"""A decay is a multiple of one over this, so that what is computed from it keeps its order."""


class Contribution(NamedTuple):
    """Addends of one row, or sums over rows; rewards in micro-units, variances in micro-units squared."""

    visits: int = 0
    in_flight: int = 0
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
    spawned: int = 0
    """Visited directions that have a prior of their own."""
    promised: int = 0
    """Their priors."""
    kept: int = 0
    """What their first visits told."""


NOTHING = Contribution()


def contribution(row: DirectionRow) -> Contribution:
    visits, total = row.visits, row.reward_sum_micro
    if not visits:
        return Contribution(in_flight=row.in_flight) if row.in_flight else NOTHING
    first = (0, 0, 0) if row.prior_micro is None else (1, row.prior_micro, row.first_micro)
    if visits == 1:
        return Contribution(1, row.in_flight, total, 0, 0, 0, 0, 0, *first)
    scatter = row.reward_squares - total * total // visits
    within = scatter * visits // (visits - 1)
    flips = total * MICRO - total * total // visits + scatter // (visits - 1)
    after, before = total - row.first_micro, total - row.yields[-1]
    return Contribution(visits, row.in_flight, total, 1, within, flips, after, before, *first)


class Pooled:
    """Sums over all directions ever opened, retired ones included."""

    __slots__ = ("opened", "sums")

    def __init__(self) -> None:
        self.opened = 0
        self.sums = NOTHING

    def replace(self, old: Contribution, new: Contribution) -> None:
        self.sums = Contribution(*map(add, self.sums, map(sub, new, old)))

    @property
    def started(self) -> int:
        """Completed and unfinished visits: the clock."""
        return self.sums.visits + self.sums.in_flight

    @property
    def dispersion(self) -> float:
        """Variance within directions, over that of coin flips of the same means; in [0.02, 1]."""
        if self.sums.flips <= 0:
            return 1.0
        return min(1.0, max(LEAST_DISPERSION, self.sums.within / self.sums.flips))

    @property
    def cautious_dispersion(self) -> float:
        """The dispersion with two coin flips imagined first: high while little is known."""
        imagined = MICRO * MICRO // 2
        return min(1.0, (self.sums.within + imagined) / (self.sums.flips + imagined))

    @property
    def decay(self) -> float:
        """The ratio of a direction's next reward to its last one, at the top of its 95 % interval; at most 1.

        Summed over a direction, rewards after and before differ by its last and first alone.
        """
        sums = self.sums
        if sums.before <= 0:
            return 1.0
        mean = sums.rewards / (MICRO * sums.visits)
        error = _ERRORS * math.sqrt(2 * sums.repeated * mean * (1.0 - mean) * self.dispersion) * MICRO
        return min(_DECAYS, round((sums.after + error) / sums.before * _DECAYS)) / _DECAYS

    @property
    def surprise(self) -> float:
        """What first visits told, less what the priors of their directions promised, on average."""
        return (self.sums.kept - self.sums.promised) / (MICRO * (self.sums.spawned + _SETTLING))
