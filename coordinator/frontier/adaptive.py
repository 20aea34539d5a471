"""The default policy: KL-UCB++ made anytime, for graded rewards, parallel visits and directions that deplete.

No theorem covers the combination; `bench/frontier` measures it.
"""

import math
from collections.abc import Callable, Sequence

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, upper_bound
from coordinator.frontier.indexed import Estimate, Index
from coordinator.frontier.pooled import LEAST_DISPERSION, Pooled
from coordinator.frontier.promises import PRIOR_WEIGHT, Outlook, prior_of
from coordinator.frontier.staircase import Restart

Bound = Callable[[float, int, float, float], float]
"""Of a forecast, visits, the worth of the prior, and the least value of which the exact bound is needed."""

Fading = Callable[[int], float]
"""What so many visits under way leave for the next, as a share."""

YOUNG = 16
"""Visits up to which the mean of a direction is taken to lag behind a decay; beyond, its own drops show."""
PRIOR_LASTS = 4
"""Visits up to which the prior of a direction counts beside its own rewards."""
_LEVEL = 0.7
"""Share of the published level: runs are short, and what is unvisited competes by its prior alone."""
_ROUNDING = 1e-9
FALSE_RESTARTS = 0.05
"""Bound that the test aims at for a restart, ever, of a direction whose rewards do not drop."""


def adaptive_index(pooled: Pooled) -> list[Index]:
    """By group, sup{q : kl(forecast, q) <= 0.7 g(t / (K n)) / (worth + n / dispersion)},
    g(x) = ln+(x (ln+(x)^2 + 1)).

    The level g is that of KL-UCB++ (Ménard and Garivier, 2017), with visits started for the horizon
    and directions opened for K. A visit is worth 1 / dispersion coin flips, a prior what it turned out to be.
    """
    dispersion, decay, planned, spawned = pooled.learned
    clock = pooled.started / max(pooled.opened, 1)
    highest = _ROUNDING + (_level(clock) if clock > 1.0 else 0.0)
    # By Pinsker's inequality no bound of n visits lies further above its forecast than sqrt(far / n).
    far = 0.5 * dispersion * highest
    bound = _bound(clock, dispersion, highest)
    fading = _fading(pooled.sums.visits, decay)
    shrunk = _shrinking(decay)
    return [
        _unvisited(planned, bound, fading),
        *[_visited(planned, shrunk, far, bound, fading)] * PRIOR_LASTS,
        _unvisited(spawned, bound, fading),
        *[_visited(spawned, shrunk, far, bound, fading)] * PRIOR_LASTS,
        _young(shrunk, far, bound, fading),
        _seasoned(decay, far, bound),
    ]


def _bound(clock: float, dispersion: float, highest: float) -> Bound:
    """The bound above a forecast after a number of visits, with a prior of some worth."""

    def bound(forecast: float, visits: int, worth: float, least: float) -> float:
        ratio = clock / visits if visits else clock
        certainty = worth + visits / dispersion
        gap = least - forecast
        if ratio <= 1.0 or (gap > 0.0 and 2.0 * gap * gap * certainty > highest):
            return forecast
        return upper_bound(forecast, _level(ratio) / certainty, least)

    return bound


def _fading(visits: int, decay: float) -> Fading:
    """What a number of visits under way leave for the next.

    The decay to that power; and as long as little is known, the expected power of a Beta(2 + visits, 2)
    variable, so half for the very first.
    """
    known = visits + 2.0

    def fading(in_flight: int) -> float:
        later = known + in_flight
        return known * (known + 1.0) / (later * (later + 1.0)) * decay**in_flight

    return fading


def _unvisited(outlook: Outlook, bound: Bound, fading: Fading) -> Index:
    worth = outlook.worth

    def index(count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        del count
        forecast = outlook.forecast(mean)
        return bound(forecast * fading(in_flight) if in_flight else forecast, in_flight, worth, least)

    return index


def _visited(outlook: Outlook, shrunk: Sequence[float], far: float, bound: Bound, fading: Fading) -> Index:
    """As long as the prior counts; what is corrected is the same for all directions of a group."""
    worth, surprise = outlook.worth, outlook.surprise

    def index(count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        visits = count - PRIOR_WEIGHT
        forecast = mean + surprise / (visits + 1)
        forecast = shrunk[visits] * (0.0 if forecast < 0.0 else min(forecast, 1.0))
        gap = least - forecast
        if gap > 0.0 and gap * gap * visits > far:
            return forecast
        if in_flight:
            forecast *= fading(in_flight)
        return bound(forecast, visits + in_flight, worth, least)

    return index


def _shrinking(decay: float) -> list[float]:
    """By visits: of rewards that decay, the next over the mean of those so far."""
    if decay >= 1.0:
        return [1.0] * (YOUNG + 1)
    shrunk, left, lost = [1.0], 1.0, 1.0 - decay
    for visits in range(1, YOUNG + 1):
        left *= decay
        shrunk.append(visits * lost * left / (1.0 - left))
    return shrunk


def _young(shrunk: Sequence[float], far: float, bound: Bound, fading: Fading) -> Index:
    def index(count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        visits = count - PRIOR_WEIGHT
        forecast = mean * shrunk[visits]
        gap = least - forecast
        if gap > 0.0 and gap * gap * visits > far:
            return forecast
        if in_flight:
            forecast *= fading(in_flight)
        return bound(forecast, visits + in_flight, PRIOR_WEIGHT, least)

    return index


def _seasoned(decay: float, far: float, bound: Bound) -> Index:
    def index(count: int, mean: float, in_flight: int, least: float = 0.0) -> float:
        visits, gap = count - PRIOR_WEIGHT + in_flight, least - mean
        if gap > 0.0 and gap * gap * visits > far:
            return mean
        if in_flight:
            mean *= (visits - in_flight + in_flight * decay) / visits
        return bound(mean, visits, PRIOR_WEIGHT, least)

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
    groups = 2 * (PRIOR_LASTS + 1) + 2
    at = staticmethod(adaptive_index)

    def estimate(self, row: DirectionRow, spawned: bool) -> Estimate:
        visits, weight = row.visits, row.visits + PRIOR_WEIGHT
        if visits > PRIOR_LASTS:
            total = row.reward_sum_micro * weight // visits
            return Estimate(weight, total, _group(visits), recent_drop(row))
        prior = prior_of(row)
        group = visits + spawned * (PRIOR_LASTS + 1)
        if not visits:
            return Estimate(weight, weight * prior, group)
        return Estimate(
            weight, (row.reward_sum_micro + prior) * weight // (visits + 1), group, recent_drop(row)
        )


def _group(visits: int) -> int:
    """Of a direction whose own rewards are all that counts."""
    return 2 * (PRIOR_LASTS + 1) + (visits > YOUNG)


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
            chi_squared = drop * drop / (before * (visits - before) * variance)
            if chi_squared > best:
                drops.append((chi_squared, before, sum_before))
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
    return Restart(critical, visits, recent_micro, weight, recent_micro * weight // visits, _group(visits))


def _likelihood_ratio(before: int, sum_before: int, after: int, sum_after: int) -> float:
    """n1 kl(m1, m) + n2 kl(m2, m) in nats."""
    mean = (sum_before + sum_after) / (MICRO * (before + after))
    return before * kl(sum_before / (MICRO * before), mean) + after * kl(sum_after / (MICRO * after), mean)
