"""The default policy: KL-UCB++ made anytime, for graded rewards, parallel visits and directions that deplete.

No theorem covers the combination; `bench/frontier.py` measures it.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, upper_bound
from coordinator.frontier.indexed import Estimate
from coordinator.frontier.pooled import LEAST_DISPERSION, Pooled
from coordinator.frontier.priors import PRIOR_WEIGHT, ROOT_PRIOR_MICRO
from coordinator.frontier.staircase import Restart

YOUNG = 16
"""Visits up to which the mean of a direction is taken to lag behind a decay; beyond, its own drops show."""
FALSE_RESTARTS = 0.05
"""Bound that the test aims at for a restart, ever, of a direction whose rewards do not drop."""


@dataclass(frozen=True, slots=True)
class AdaptiveMoment:
    """sup{q : kl(forecast, q) <= g(t / (K n)) / (2 + n / dispersion)}, g(x) = ln+(x (ln+(x)^2 + 1)).

    The level g is that of KL-UCB++ (Ménard and Garivier, 2017), with visits started for the horizon
    and directions opened for K. The prior is worth 2 coin flips, a visit 1 / dispersion of them.
    """

    clock: float
    """Visits started per direction opened."""
    dispersion: float
    decay: float
    surprise: float

    def index(self, count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        visits, decay = count - PRIOR_WEIGHT, self.decay
        if not visits:
            mean = min(max(mean + self.surprise, 0.0), 1.0)
        elif decay < 1.0 and visits <= YOUNG:
            # Of rewards that decay, the next is to the mean of those so far as this.
            left = decay**visits
            mean *= visits * (1.0 - decay) * left / (1.0 - left)
        if in_flight:
            young = visits <= YOUNG
            mean *= decay**in_flight if young else (visits + in_flight * decay) / (visits + in_flight)
            visits += in_flight
        ratio = self.clock / visits if visits else self.clock
        if ratio <= 1.0:
            return mean
        log = math.log(ratio)
        level = math.log(ratio * (log * log + 1.0)) / (PRIOR_WEIGHT + visits / self.dispersion)
        return upper_bound(mean, level, least)


class Adaptive:
    """See `AdaptiveMoment`. The prior is worth 1 visit in the mean, and 2 coin flips in the certainty;
    after a significant drop only the rewards since count (`recent_drop`).
    """

    name = "adaptive"
    groups = 3

    def group(self, count: int) -> int:
        """Unvisited, young and seasoned directions: the index falls with the count within each."""
        visits = count - PRIOR_WEIGHT
        return 0 if not visits else 1 if visits <= YOUNG else 2

    def estimate(self, row: DirectionRow) -> Estimate:
        visits, weight = row.visits, row.visits + PRIOR_WEIGHT
        prior = ROOT_PRIOR_MICRO if row.prior_micro is None else row.prior_micro
        if not visits:
            return Estimate(weight, weight * prior)
        return Estimate(weight, (row.reward_sum_micro + prior) * weight // (visits + 1), recent_drop(row))

    def at(self, pooled: Pooled) -> AdaptiveMoment:
        clock = pooled.started / max(pooled.opened, 1)
        return AdaptiveMoment(clock, pooled.dispersion, pooled.decay, pooled.surprise)


def recent_drop(row: DirectionRow) -> Restart | None:
    """The recent rewards, if they lie significantly below the earlier ones for some dispersion.

    A one-sided generalised-likelihood-ratio test over the boundaries of the histogram of yields,
    with the threshold ln(n^1.5 / chance) (Besson, Kaufmann, Maillard and Seznec, 2022).
    """
    if row.visits < 2:
        return None
    visits, total = row.visits, row.reward_sum_micro
    threshold = math.log(visits * math.sqrt(visits) / FALSE_RESTARTS)
    best, found = LEAST_DISPERSION * threshold, None
    counts, sums = accumulate(row.yields[0:-2:2]), accumulate(row.yields[1:-2:2])
    for before, sum_before in zip(counts, sums, strict=True):
        after, sum_after = visits - before, total - sum_before
        if not before or not after or sum_after * before >= sum_before * after:
            continue
        ratio = _likelihood_ratio(before, sum_before, after, sum_after, best)
        if ratio > best:
            best, found = ratio, _restart(ratio / threshold, after, sum_after)
    return found


def _restart(critical: float, visits: int, recent_micro: int) -> Restart:
    """The recent mean takes the place of the prior too, which no longer holds."""
    weight = visits + PRIOR_WEIGHT
    return Restart(critical, visits, recent_micro, weight, recent_micro * weight // visits)


def _likelihood_ratio(before: int, sum_before: int, after: int, sum_after: int, least: float) -> float:
    """n1 kl(m1, m) + n2 kl(m2, m) in nats; 0 where a cheap upper bound says that it is below `least`."""
    early, late = sum_before / (MICRO * before), sum_after / (MICRO * after)
    visits = before + after
    mean = (sum_before + sum_after) / (MICRO * visits)
    chi_square = before * after / visits * (early - late) ** 2 / (mean * (1.0 - mean))
    if chi_square <= least:
        return 0.0
    return before * kl(early, mean) + after * kl(late, mean)
