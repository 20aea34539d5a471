"""The default policy: KL-UCB++ made anytime, for graded rewards, parallel visits and directions that deplete.

No theorem covers the combination; `bench/frontier` measures it.
"""

import math

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, upper_bound
from coordinator.frontier.indexed import Estimate, Index
from coordinator.frontier.pooled import LEAST_DISPERSION, Pooled
from coordinator.frontier.priors import PRIOR_WEIGHT, ROOT_PRIOR_MICRO
from coordinator.frontier.staircase import Restart

YOUNG = 16
"""Visits up to which the mean of a direction is taken to lag behind a decay; beyond, its own drops show."""
_LEVEL = 0.7
"""Share of the published level: runs are short, and what is unvisited competes by its prior alone."""
_ROUNDING = 1e-9
FALSE_RESTARTS = 0.05
"""Bound that the test aims at for a restart, ever, of a direction whose rewards do not drop."""


def adaptive_index(pooled: Pooled) -> Index:
    """sup{q : kl(forecast, q) <= 0.7 g(t / (K n)) / (2 + n / dispersion)}, g(x) = ln+(x (ln+(x)^2 + 1)).

    The level g is that of KL-UCB++ (Ménard and Garivier, 2017), with visits started for the horizon
    and directions opened for K. The prior is worth 2 coin flips, a visit 1 / dispersion of them.
    """
    clock = pooled.started / max(pooled.opened, 1)
    dispersion, decay, again, promised, kept, slope = pooled.learned
    highest = _level(clock) if clock > 1.0 else 0.0

    def index(count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        visits = count - PRIOR_WEIGHT
        if not visits:
            mean = min(max(kept + slope * (mean - promised), 0.0), 1.0)
        elif decay < 1.0 and visits <= YOUNG:
            # Of rewards that decay, the next is to the mean of those so far as this.
            left = decay**visits
            mean *= visits * (1.0 - decay) * left / (1.0 - left)
        if in_flight:
            young = visits <= YOUNG
            mean *= again**in_flight if young else (visits + in_flight * decay) / (visits + in_flight)
            visits += in_flight
        ratio = clock / visits if visits else clock
        certainty = PRIOR_WEIGHT + visits / dispersion
        gap = least - mean
        # By Pinsker's inequality the second is so low that no exact bound is needed.
        if ratio <= 1.0 or (gap > 0.0 and 2.0 * gap * gap * certainty > highest + _ROUNDING):
            return mean
        return upper_bound(mean, _level(ratio) / certainty, least)

    return index


def _level(ratio: float) -> float:
    """The level g, for a ratio above 1."""
    log = math.log(ratio)
    return _LEVEL * math.log(ratio * (log * log + 1.0))


class Adaptive:
    """See `adaptive_index`. The prior is worth 1 visit in the mean, and 2 coin flips in the certainty;
    after a significant drop only the rewards since count (`recent_drop`).
    """

    name = "adaptive"
    groups = 3
    at = staticmethod(adaptive_index)

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


def recent_drop(row: DirectionRow) -> Restart | None:
    """The recent rewards, if they lie significantly below the earlier ones for some dispersion.

    A one-sided generalised-likelihood-ratio test over the boundaries of the histogram of yields,
    with the threshold ln(n^1.5 / chance) (Besson, Kaufmann, Maillard and Seznec, 2022).
    """
    if row.visits < 2:
        return None
    visits, total, yields = row.visits, row.reward_sum_micro, row.yields
    threshold = math.log(visits * math.sqrt(visits) / FALSE_RESTARTS)
    best, found = LEAST_DISPERSION * threshold, None
    variance = total * (visits * MICRO - total) / visits or 1
    drops: list[tuple[float, int, int]] = []
    before = sum_before = 0
    for block in range(0, len(yields) - 2, 2):
        before += yields[block]
        sum_before += yields[block + 1]
        drop = sum_before * visits - total * before
        if drop > 0:
            drops.append((drop * drop / (before * (visits - before) * variance), before, sum_before))
    # A divergence is at most chi squared, which is cheap: mostly one look at the steepest drop is enough.
    drops.sort(reverse=True)
    for chi_squared, before, sum_before in drops:
        if chi_squared <= best:
            break
        after, sum_after = visits - before, total - sum_before
        ratio = _likelihood_ratio(before, sum_before, after, sum_after)
        if ratio > best:
            best, found = ratio, _restart(ratio / threshold, after, sum_after)
    return found


def _restart(critical: float, visits: int, recent_micro: int) -> Restart:
    """The recent mean takes the place of the prior too, which no longer holds."""
    weight = visits + PRIOR_WEIGHT
    return Restart(critical, visits, recent_micro, weight, recent_micro * weight // visits)


def _likelihood_ratio(before: int, sum_before: int, after: int, sum_after: int) -> float:
    """n1 kl(m1, m) + n2 kl(m2, m) in nats."""
    mean = (sum_before + sum_after) / (MICRO * (before + after))
    return before * kl(sum_before / (MICRO * before), mean) + after * kl(sum_after / (MICRO * after), mean)
