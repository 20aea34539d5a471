"""How sure a mean over seeds is: its bootstrap interval (Efron, 1979)."""

from collections.abc import Callable, Sequence
from functools import cache
from random import Random

RESAMPLES = 400
TAIL = 0.05
"""Left out at each end: intervals are of 90 %."""


def interval(seeds: int, value: Callable[[Sequence[int]], float]) -> tuple[float, float]:
    """Between which values of 90 % of the resamplings lie; each draws as many seeds as there are, with
    repetition. The draws are the same each time.
    """
    found = sorted(map(value, _draws(seeds)))
    return found[round(TAIL * RESAMPLES)], found[round((1.0 - TAIL) * RESAMPLES) - 1]


def interval_of_mean(values: Sequence[float]) -> tuple[float, float]:
    """Of values by seed."""
    return interval(len(values), lambda drawn: sum(map(values.__getitem__, drawn)) / len(values))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@cache
def _draws(seeds: int) -> Sequence[Sequence[int]]:
    rng = Random(f"resamples {seeds}")
    return [rng.choices(range(seeds), k=seeds) for _ in range(RESAMPLES)]
