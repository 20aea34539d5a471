"""What all directions of a frontier say together: the clock, the spread of rewards, how yields decay.

Contributions are integers and each a function of one row, so that the sums do not depend on the
order of events, and a restored frontier has the same as one that never stopped.
"""

from blackboard.events import MICRO
from blackboard.state import DirectionRow

Contribution = tuple[int, ...]
NOTHING: Contribution = (0, 0, 0, 0, 0, 0, 0)
LEAST_DISPERSION = 0.02
_SETTLING = 8 * MICRO
"""Reward that is imagined to have followed reward without decay, until real pairs outweigh it."""


def contribution(row: DirectionRow) -> Contribution:
    """Visits, in flight, rewards, their variance within the row times visits, the variance that coin
    flips of the same mean would have, and for decay: rewards without the first, and without the last.
    """
    visits, total = row.visits, row.reward_sum_micro
    if visits < 2:
        return (visits, row.in_flight, total, 0, 0, 0, 0) if visits or row.in_flight else NOTHING
    scatter = row.reward_squares - total * total // visits
    within = scatter * visits // (visits - 1)
    flips = total * MICRO - total * total // visits + scatter // (visits - 1)
    return (visits, row.in_flight, total, within, flips, total - row.first_micro, total - row.yields[-1])


class Pooled:
    """Sums over all directions ever opened, retired ones included."""

    __slots__ = ("_after", "_before", "_flips", "_within", "in_flight", "opened", "rewards_micro", "visits")

    def __init__(self) -> None:
        self.opened = 0
        self.visits = 0
        self.in_flight = 0
        self.rewards_micro = 0
        self._within = 0
        self._flips = 0
        self._after = 0
        self._before = 0

    def replace(self, old: Contribution, new: Contribution) -> None:
        self.visits += new[0] - old[0]
        self.in_flight += new[1] - old[1]
        self.rewards_micro += new[2] - old[2]
        self._within += new[3] - old[3]
        self._flips += new[4] - old[4]
        self._after += new[5] - old[5]
        self._before += new[6] - old[6]

    @property
    def started(self) -> int:
        """Completed and unfinished visits: the clock."""
        return self.visits + self.in_flight

    @property
    def dispersion(self) -> float:
        """Variance within directions, over that of coin flips of the same means; in [0.02, 1]."""
        if self._flips <= 0:
            return 1.0
        return min(1.0, max(LEAST_DISPERSION, self._within / self._flips))

    @property
    def decay(self) -> float:
        """The ratio of a direction's next reward to its last one, pooled; at most 1."""
        if self._before <= 0:
            return 1.0
        return min(1.0, (self._after + _SETTLING) / (self._before + _SETTLING))
