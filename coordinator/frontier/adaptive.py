"""The default policy: KL-UCB++ made anytime, for graded rewards, parallel visits and directions that deplete.

No theorem covers the combination; `bench/frontier` measures it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, upper_bound
from coordinator.frontier.indexed import Indexes
from coordinator.frontier.pooled import Pooled
from coordinator.frontier.promises import PRIOR_WEIGHT, Outlook, prior_of
from coordinator.frontier.staircase import Estimate

YOUNG = 16
"""Visits up to which the mean of a direction is taken to lag behind a decay; beyond, its own drops show."""
PRIOR_LASTS = 4
"""Visits up to which the prior of a direction counts beside its own rewards."""
_LEVEL = 0.7
"""Share of the published level: runs are short, and what is unvisited competes by its prior alone."""
_LEAST_WORTH = float(PRIOR_WEIGHT)
_ROUNDING = 1e-9
FALSE_RESTARTS = 0.05
"""Bound that the test aims at for a restart, ever, of a direction whose rewards do not drop."""

_LOG_FALSE = math.log(FALSE_RESTARTS)
_ROOTS = [visits**-0.5 for visits in range(1, YOUNG + 2)]

# Groups: planned directions by visits while the prior lasts; spawned ones; all whose own rewards are all that
# counts, by visits; and the seasoned.
_SPAWNED = PRIOR_LASTS + 1
_OWN = 2 * _SPAWNED
_SEASONED = _OWN + YOUNG


def adaptive_index(pooled: Pooled) -> Indexes:
    """sup{q : kl(forecast, q) <= 0.7 g(t / (K n)) / (worth + n / dispersion)},
    g(x) = ln+(x (ln+(x)^2 + 1)).

    The level g is that of KL-UCB++ (Ménard and Garivier, 2017), with visits started for the horizon
    and directions opened for K. A visit is worth 1 / dispersion coin flips, a prior what it turned out to be.
    """
    dispersion, decay, planned, spawned = pooled.learned
    clock = pooled.started / (pooled.opened or 1)
    highest = _ROUNDING + (_level(clock) if clock > 1.0 else 0.0)
    scales, completed = _scales(decay), pooled.sums.visits

    def index(group: int, count: int, mean: float, in_flight: int, least: float) -> float:
        visits, worth = count - PRIOR_WEIGHT, _LEAST_WORTH
        if group >= _OWN:
            forecast = mean * scales[group]
        else:
            outlook = planned if group < _SPAWNED else spawned
            worth = outlook.worth
            if visits:
                forecast = min(max(mean + outlook.surprise / (visits + 1), 0.0), 1.0) * scales[group]
            else:
                forecast = outlook.forecast(mean)
        if in_flight:
            if group < _SEASONED:
                forecast *= _fade(in_flight, completed, decay)
            else:
                forecast *= (visits + in_flight * decay) / (visits + in_flight)
            visits += in_flight
        ratio = clock / visits if visits else clock
        if ratio <= 1.0:
            return forecast
        certainty = worth + visits / dispersion
        gap = least - forecast
        if gap > 0.0 and 2.0 * gap * gap * certainty > highest:
            return forecast
        return upper_bound(forecast, _level(ratio) / certainty, least)

    # By Pinsker's inequality no bound of n visits lies further above its forecast than farthest / sqrt(n).
    farthest = math.sqrt(0.5 * dispersion * highest)
    reaches = [
        *_reaches(planned, highest, farthest),
        *_reaches(spawned, highest, farthest),
        *[farthest * share for share in _ROOTS],
    ]
    return Indexes(index, scales, reaches)


def _reaches(source: Outlook, highest: float, farthest: float) -> Sequence[float]:
    """By visits as long as the prior lasts."""
    surprise = source.surprise
    visited = farthest + surprise if surprise > 0.0 else farthest
    return (source.forecasts[-1] + math.sqrt(0.5 * highest / source.worth), *(visited,) * PRIOR_LASTS)


def _fade(in_flight: int, visits: int, decay: float) -> float:
    """What visits under way leave for the next, as a share, after so many visits in all.

    The decay to that power; and as long as little is known, the expected power of a Beta(2 + visits, 2)
    variable, so half for the very first.
    """
    known = visits + 2.0
    later = known + in_flight
    return known * (known + 1.0) / (later * (later + 1.0)) * decay**in_flight


@lru_cache(maxsize=16)
def _scales(decay: float) -> Sequence[float]:
    """By group: of rewards that decay, the next over the mean of those so far. What may be expected of an
    unvisited direction is no multiple of its prior: 0, its reach says all.
    """
    shrunk, left, lost = [1.0], 1.0, 1.0 - decay
    for visits in range(1, YOUNG + 1):
        left *= decay
        shrunk.append(visits * lost * left / (1.0 - left) if lost else 1.0)
    with_prior = (0.0, *shrunk[1 : PRIOR_LASTS + 1])
    return (*with_prior, *with_prior, *shrunk[1:], 1.0)


def _level(ratio: float) -> float:
    """The level g, for a ratio above 1."""
    log = math.log(ratio)
    return _LEVEL * math.log(ratio * (log * log + 1.0))


class Adaptive:
    """See `adaptive_index`. The prior is worth 1 visit in the mean, and 2 coin flips in the certainty;
    after a significant drop only the rewards since count (`recent_drop`).
    """

    name = "adaptive"
    groups = _SEASONED + 1
    at = staticmethod(adaptive_index)

    def estimate(self, row: DirectionRow, spawned: bool, dispersion: float, known: Estimate) -> Estimate:
        visits, told, drop = row.visits, row.reward_sum_micro, None
        weight, edge = visits + PRIOR_WEIGHT, _edge_after(known, row)
        if edge > dispersion:  # or else a drop is out of the question
            drop, edge = recent_drop(row, dispersion)
        if drop is not None:
            # The recent mean takes the place of the prior too, which no longer holds.
            weight = drop.visits + PRIOR_WEIGHT
            total, group = drop.reward_micro * weight // drop.visits, _group(drop.visits)
        elif visits > PRIOR_LASTS:
            total, group = told * weight // visits, _group(visits)
        else:
            total, group = (told + prior_of(row)) * weight // (visits + 1), visits + spawned * _SPAWNED
        return Estimate(weight, total, group, edge, drop is not None, visits, told, row.last_visit)


def _group(visits: int) -> int:
    """Of a direction whose own rewards are all that counts."""
    return _SEASONED if visits > YOUNG else _OWN - 1 + visits


def _edge_after(known: Estimate, row: DirectionRow) -> float:
    """Where a drop that is none after one visit less would have its edge, at most.

    A further reward adds at most kl(reward, mean before) to the likelihood ratio of any boundary, and
    nothing if it is the newest and no lower than that mean.
    """
    visits, told = row.visits, row.reward_sum_micro
    if visits < 2:
        return 0.0
    if known.restarted or known.visits != visits - 1:
        return math.inf
    reward, mean = (told - known.told_micro) / MICRO, known.told_micro / (MICRO * known.visits)
    if reward >= mean and row.last_visit > known.last_visit:
        return known.edge
    return known.edge + kl(reward, mean) / _threshold(visits)


def _threshold(visits: int) -> float:
    """In nats: ln(n^1.5 / chance)."""
    return 1.5 * math.log(visits) - _LOG_FALSE


class Drop(NamedTuple):
    """The visits since rewards have dropped, and what they told."""

    visits: int
    reward_micro: int


def recent_drop(row: DirectionRow, dispersion: float) -> tuple[Drop | None, float]:
    """The recent rewards, if they lie significantly below the earlier ones for a dispersion; and an edge:
    a drop is one for all dispersions below it, none is none for all others.

    A one-sided generalised-likelihood-ratio test over the boundaries of the histogram of yields,
    with the threshold ln(n^1.5 / chance) (Besson, Kaufmann, Maillard and Seznec, 2022).
    """
    visits, total, yields = row.visits, row.reward_sum_micro, row.yields
    if visits < 2 or not 0 < total < visits * MICRO:
        return None, 0.0
    threshold = _threshold(visits)
    mean = total / visits
    drops = [
        (lost * lost / (before * (visits - before)), before, told)
        for before, told in zip(accumulate(yields[:-2:2]), accumulate(yields[1:-2:2]), strict=True)
        if before and (lost := told - mean * before) > 0.0
    ]
    if not drops:
        return None, 0.0
    # A divergence is at most chi squared, which is cheap: mostly it says that there is no drop.
    chi_squared = visits / (mean * (MICRO - mean))
    edge = max(drops)[0] * chi_squared / threshold
    if edge <= dispersion:
        return None, edge
    best, found = 0.0, None
    for steepness, before, told in sorted(drops, reverse=True):
        if steepness * chi_squared <= best:
            break
        ratio = _likelihood_ratio(before, told, visits - before, total - told)
        if ratio > best:
            best, found = ratio, Drop(visits - before, total - told)
    edge = best / threshold
    return (found if dispersion < edge else None), edge


def _likelihood_ratio(before: int, sum_before: int, after: int, sum_after: int) -> float:
    """n1 kl(m1, m) + n2 kl(m2, m) in nats."""
    mean = (sum_before + sum_after) / (MICRO * (before + after))
    return before * kl(sum_before / (MICRO * before), mean) + after * kl(sum_after / (MICRO * after), mean)
