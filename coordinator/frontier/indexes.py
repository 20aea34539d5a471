"""Published index policies. Unfinished visits count as completed at the present mean, as in WU-UCT
(Liu et al., 2020), except where the policy says otherwise.

In the formulas N counts the direction's visits, t all visits, K the directions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from blackboard.state import DirectionRow
from coordinator.frontier.divergence import upper_bound
from coordinator.frontier.indexed import Index, Indexes
from coordinator.frontier.pooled import Pooled
from coordinator.frontier.priors import with_prior, without_prior
from coordinator.frontier.staircase import Estimate


def kl_index(level: Callable[[int], float]) -> Index:
    """sup{q : N kl(mean, q) <= level(N)}, infinite for N = 0."""

    def index(group: int, count: int, mean: float, in_flight: int, least: float) -> float:
        del group
        total = count + in_flight
        return upper_bound(mean, level(total) / total, least) if total else math.inf

    return index


def bonus_index(bonus: Callable[[int], float]) -> Index:
    """Mean + bonus(N), infinite for N = 0."""

    def index(group: int, count: int, mean: float, in_flight: int, least: float) -> float:
        del group, least
        total = count + in_flight
        return mean + bonus(total) if total else math.inf

    return index


@dataclass(frozen=True, slots=True)
class IndexRule:
    """An index policy made of two functions, with one staircase."""

    name: str
    of: Callable[[DirectionRow], Estimate]
    index: Callable[[Pooled], Index]
    groups: int = 1

    def estimate(self, row: DirectionRow, spawned: bool, dispersion: float, known: Estimate) -> Estimate:
        del spawned, dispersion, known
        return self.of(row)

    def at(self, pooled: Pooled) -> Indexes:
        return Indexes(self.index(pooled), (1.0,), (math.inf,))


def _ucb1(pooled: Pooled) -> Index:
    """Mean + sqrt(2 ln t / N) (Auer, Cesa-Bianchi and Fischer, 2002)."""
    twice_log = 2.0 * math.log(max(pooled.started, 1))
    return bonus_index(lambda count: math.sqrt(twice_log / count))


def _moss(pooled: Pooled) -> Index:
    """Mean + sqrt(ln+(t / (K N)) / N) (Audibert and Bubeck, 2009; anytime: Degenne and Perchet, 2016)."""
    clock = pooled.started / max(pooled.opened, 1)
    return bonus_index(lambda count: math.sqrt(_log_plus(clock / count) / count))


def _max_ucb(pooled: Pooled) -> Index:
    """Best + (ln t / (2 N))^2 (Balef, Vernade and Eggensperger, 2025): for the best single finding."""
    half_log = 0.5 * math.log(max(pooled.started, 1))
    return bonus_index(lambda count: (half_log / count) ** 2)


def _kl_ucb(pooled: Pooled) -> Index:
    """Level ln t (Garivier and Cappé, 2011)."""
    log = math.log(max(pooled.started, 1))
    return kl_index(lambda _: log)


def _kl_ucb_plus(pooled: Pooled) -> Index:
    """Level ln+(t / N) (Garivier and Cappé, 2011; Kaufmann, 2018)."""
    started = pooled.started
    return kl_index(lambda count: _log_plus(started / count))


def _kl_ucb_plus_plus(pooled: Pooled) -> Index:
    """Level ln+(x (ln+(x)^2 + 1)) with x = t / (K N) (Ménard and Garivier, 2017)."""
    clock = pooled.started / max(pooled.opened, 1)

    def level(count: int) -> float:
        log = _log_plus(clock / count)
        return _log_plus(clock / count * (log * log + 1.0))

    return kl_index(level)


def _log_plus(value: float) -> float:
    return math.log(value) if value > 1.0 else 0.0


def _greedy(group: int, count: int, mean: float, in_flight: int, least: float) -> float:
    """The mean, with unfinished visits imagined to earn nothing (virtual loss: Chaslot et al., 2008)."""
    del group, least
    return mean * (count / (count + in_flight))


def _fewest(group: int, count: int, mean: float, in_flight: int, least: float) -> float:
    """The fewest visits."""
    del group, mean, least
    return -float(count + in_flight)


def _best(row: DirectionRow) -> Estimate:
    if not row.visits:
        return without_prior(row)
    return Estimate(row.visits, row.reward_best_micro * row.visits)


def _settled(row: DirectionRow) -> Estimate:
    return Estimate(row.visits + row.expired, 0)


INDEX_RULES: tuple[IndexRule, ...] = (
    IndexRule("round-robin", _settled, lambda _: _fewest),
    IndexRule("greedy", with_prior, lambda _: _greedy),
    IndexRule("ucb1", without_prior, _ucb1),
    IndexRule("moss", without_prior, _moss),
    IndexRule("kl-ucb", with_prior, _kl_ucb),
    IndexRule("kl-ucb-plus", with_prior, _kl_ucb_plus),
    IndexRule("kl-ucb-plus-plus", with_prior, _kl_ucb_plus_plus),
    IndexRule("max-ucb", _best, _max_ucb),
)
