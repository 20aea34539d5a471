"""The default policy: KL-UCB++ made anytime, for graded rewards, parallel visits and directions that deplete.

No theorem covers the combination; bench/frontier.py measures it.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, reaches, upper_bound
from coordinator.frontier.indexed import Estimate
from coordinator.frontier.pooled import LEAST_DISPERSION, Pooled
from coordinator.frontier.staircase import Restart

PRIOR_WEIGHT = 2
ROOT_PRIOR_MICRO = MICRO // 2
NEVER_BY_CHANCE = 0.05
"""Chance of one restart, over all the visits of a direction whose rewards do not drop."""


@dataclass(frozen=True, slots=True)
class KlMoment:
    """sup{q : N kl(mean, q) <= dispersion * g(t / (K N))} with g(x) = ln+(x (ln+(x)^2 + 1)).

    The level is that of KL-UCB++ (Ménard and Garivier, 2017), with visits started for the horizon
    and directions opened for K.
    """

    clock: float
    """Visits started per direction opened."""
    dispersion: float
    decay: float

    def level(self, count: int) -> float:
        if not count:
            return math.inf
        ratio = self.clock / count
        if ratio <= 1.0:
            return 0.0
        log = math.log(ratio)
        return self.dispersion * math.log(ratio * (log * log + 1.0)) / count

    def index(self, count: int, mean: float) -> float:
        return upper_bound(mean, self.level(count))

    def reaches(self, count: int, mean: float, index: float) -> bool:
        return reaches(mean, self.level(count), index)

    def imagined(self, count: int, mean: float, in_flight: int) -> tuple[int, float]:
        total = count + in_flight
        return total, mean * (count + in_flight * self.decay) / total


class Adaptive:
    name = "adaptive"

    def estimate(self, row: DirectionRow) -> Estimate:
        prior = ROOT_PRIOR_MICRO if row.prior_micro is None else row.prior_micro
        return Estimate(
            row.visits + PRIOR_WEIGHT, row.reward_sum_micro + PRIOR_WEIGHT * prior, recent_drop(row)
        )

    def at(self, pooled: Pooled) -> KlMoment:
        return KlMoment(pooled.started / max(pooled.opened, 1), pooled.dispersion, pooled.decay)


def recent_drop(row: DirectionRow) -> Restart | None:
    """The recent rewards, if they lie significantly below the earlier ones for some dispersion.

    A one-sided generalised-likelihood-ratio test over the blocks of the histogram, with the
    threshold ln(n^1.5 / chance) of Besson and others (2022).
    """
    if row.visits < 2:
        return None
    threshold = math.log(row.visits * math.sqrt(row.visits) / NEVER_BY_CHANCE)
    floor = LEAST_DISPERSION * threshold
    visits, total = row.visits, row.reward_sum_micro
    best, found = floor, None
    counts = accumulate(row.yields[0:-2:2])
    sums = accumulate(row.yields[1:-2:2])
    for before, sum_before in zip(counts, sums, strict=True):
        after, sum_after = visits - before, total - sum_before
        if not before or not after or sum_after * before >= sum_before * after:
            continue
        ratio = _likelihood_ratio(before, sum_before, after, sum_after, best)
        if ratio > best:
            best, found = ratio, Restart(ratio / threshold, after, sum_after)
    return found


def _likelihood_ratio(before: int, sum_before: int, after: int, sum_after: int, least: float) -> float:
    """n1 kl(m1, m) + n2 kl(m2, m) in nats; 0 where a cheap upper bound says that it is below `least`."""
    early, late = sum_before / (MICRO * before), sum_after / (MICRO * after)
    visits = before + after
    mean = (sum_before + sum_after) / (MICRO * visits)
    chi_square = before * after / visits * (early - late) ** 2 / (mean * (1.0 - mean))
    if chi_square <= least:
        return 0.0
    return before * kl(early, mean) + after * kl(late, mean)
