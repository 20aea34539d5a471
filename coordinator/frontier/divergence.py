"""Bernoulli Kullback-Leibler divergence, and confidence bounds by inverting it (Garivier and Cappé, 2011)."""

import math
from math import log, log1p

GRID = 1 << 30
"""Bounds are multiples of 1/GRID: ties are then true ties, and a bound is monotone in its arguments
although logarithms are rounded.
"""
_LAST = GRID - 1
_CLOSE = 0.25 / GRID


def kl(p: float, q: float) -> float:
    """The divergence of Bernoulli(p) from Bernoulli(q), in nats; infinite where q cannot make p."""
    divergence = 0.0
    if p > 0.0:
        if q <= 0.0:
            return math.inf
        divergence += p * log(p / q)
    if p < 1.0:
        if q >= 1.0:
            return math.inf
        divergence += (1.0 - p) * log((1.0 - p) / (1.0 - q))
    return max(divergence, 0.0)


def upper_bound(mean: float, level: float, least: float = 0.0) -> float:
    """The largest multiple of 1/GRID with kl(mean, q) <= level, and at least `mean`.

    Where that is below `least`, itself such a bound, the answer may be any number below `least`: this
    costs one evaluation, or none.
    """
    if level <= 0.0 or mean >= 1.0:
        return min(mean, 1.0)
    gap = least - mean
    if gap > 0.0:
        # Pinsker: kl(p, q) >= (q - p)^2 / (2 v), v the greatest variance of a coin between p and q.
        nearest = least if least < 0.5 else max(mean, 0.5)
        if gap * gap > 2.0 * nearest * (1.0 - nearest) * (level + _CLOSE):
            return mean
    rest = 1.0 - mean
    reach = level - rest * log(rest) - (mean * log(mean) if mean > 0.0 else 0.0)
    if gap > 0.0 and not _within(mean, rest, math.ceil(least * GRID), reach):
        return mean
    q = _root(mean, rest, level, reach)
    point = min(max(int(q * GRID), 1), _LAST)
    if _within(mean, rest, point, reach):
        while point < _LAST and _within(mean, rest, point + 1, reach):
            point += 1
    else:
        while point > mean * GRID and not _within(mean, rest, point, reach):
            point -= 1
    return max(mean, point / GRID)


def _root(mean: float, rest: float, level: float, reach: float) -> float:
    """Where kl(mean, q) reaches the level, within a quarter of the grid.

    It is convex in q and the start is no smaller than the root, so Newton's steps come down to it; what is
    left after a step is at most its square over (q - mean) (1 - q).
    """
    q = min(mean + math.sqrt(level / 2.0), -math.expm1(-reach / rest), _LAST / GRID)
    while (room := q - mean) > 0.0:
        step = (-mean * log(q) - rest * log1p(-q) - reach) * q * (1.0 - q) / room
        if step <= 0.0:
            break
        q -= step
        if step * step < _CLOSE * room * (1.0 - q):
            break
    return q


def _within(mean: float, rest: float, point: int, reach: float) -> bool:
    if point >= GRID:
        return False
    q = point / GRID
    return -mean * log(q) - rest * log1p(-q) <= reach
