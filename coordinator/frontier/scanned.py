"""Policies whose scores are no function of count and mean alone: a choice scans all open directions, O(n)."""

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.indexed import HIGHEST, RUNNERS_UP, IndexPolicy
from coordinator.frontier.pooled import NOTHING, Contribution, Pooled, contribution
from coordinator.frontier.promises import PRIOR_WEIGHT, prior_of
from coordinator.frontier.staircase import UNKNOWN

Score = Callable[[DirectionRow], float]


class Scene(NamedTuple):
    """What a choice is made from beside the open directions."""

    pooled: Pooled
    spawned: AbstractSet[str]
    """Directions that others of this frontier led to."""
    draws: Random


class ScanPolicy(Protocol):
    """Stateless; `scores` is called once per choice, and its result once per open direction, oldest first."""

    @property
    def name(self) -> str: ...

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score: ...


class ScanFrontier:
    """The open directions under a scanning policy; ties as everywhere: mean, fewer visits, older."""

    def __init__(self, policy: ScanPolicy, rows: Iterable[DirectionRow] = ()) -> None:
        self.policy = policy
        self.pooled = Pooled()
        self._open: dict[str, DirectionRow] = {}
        self._counted: dict[str, tuple[Contribution, int]] = {}
        self._spawned: set[str] = set()
        for row in sorted(rows, key=lambda row: row.opened):
            self.opened(row)

    def opened(self, row: DirectionRow) -> None:
        self.pooled.opened += 1
        self._open[row.id] = row
        if row.parent in self._counted:
            self._spawned.add(row.id)
        self.changed(row)

    def changed(self, row: DirectionRow) -> None:
        counted, in_flight = self._counted.get(row.id, (NOTHING, 0))
        self._counted[row.id] = contribution(row), row.in_flight
        self.pooled.replace(counted, self._counted[row.id][0], row.id in self._spawned)
        self.pooled.in_flight += row.in_flight - in_flight
        if not row.open:
            self._open.pop(row.id, None)

    def choose(self, decision: int, seed: int) -> Choice | None:
        return choice_of(
            self.policy.name, self.ranking(RUNNERS_UP + 1, decision, seed), len(self._open), self.pooled
        )

    def ranking(self, places: int, decision: int = 0, seed: int = 0) -> tuple[Term, ...]:
        rows = self._open.values()
        score = self.policy.scores(rows, Scene(self.pooled, self._spawned, draws(seed, decision)))
        scores = list(map(score, rows))
        least = heapq.nlargest(places, scores)[-1:]
        ranked = [
            (found, mean_of(row), -row.visits - row.in_flight, -row.opened, row)
            for found, row in zip(scores, rows, strict=True)
            if [found] >= least
        ]
        return tuple(term(row, found) for found, *_, row in heapq.nlargest(places, ranked))


def choice_of(policy: str, terms: tuple[Term, ...], open_directions: int, pooled: Pooled) -> Choice | None:
    if not terms:
        return None
    return Choice(
        policy=policy,
        chosen=terms[0],
        runners_up=terms[1:],
        open_directions=open_directions,
        started=pooled.started,
    )


def draws(seed: int, decision: int) -> Random:
    """The random numbers of one decision: the same at every replay, whatever was drawn before."""
    return Random(hashlib.blake2b(f"{seed}:{decision}".encode(), digest_size=16).digest())


def mean_of(row: DirectionRow) -> float:
    """Mean reward; the prior of an unvisited direction."""
    if not row.visits:
        return (row.prior_micro or 0) / MICRO
    return row.reward_sum_micro / (MICRO * row.visits)


def term(row: DirectionRow, score: float) -> Term:
    mean, index = mean_of(row), min(score, HIGHEST)
    return Term(
        direction=row.id,
        index=index,
        mean=mean,
        visits=row.visits,
        in_flight=row.in_flight,
        bonus=index - mean,
        prior=None if row.prior_micro is None else row.prior_micro / MICRO,
        counted=row.visits,
    )


class Uniform:
    """Any open direction with the same chance."""

    name = "uniform"

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score:
        del rows
        return lambda _: scene.draws.random()


class Thompson:
    """A draw from each direction's Beta posterior (Thompson, 1933), the prior worth two visits.

    Graded rewards count as that share of a coin flip (Agrawal and Goyal, 2012), visits in flight
    as completed at the present mean.
    """

    name = "thompson"

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score:
        del rows
        draws = scene.draws

        def score(row: DirectionRow) -> float:
            weight = row.visits + PRIOR_WEIGHT
            mean = (row.reward_sum_micro + PRIOR_WEIGHT * prior_of(row)) / (MICRO * weight)
            weight += row.in_flight
            return draws.betavariate(max(weight * mean, 1e-3), max(weight * (1.0 - mean), 1e-3))

        return score


class Ucb1Tuned:
    """Mean + sqrt(ln t / N min(1/4, variance + sqrt(2 ln t / N))) (Auer, Cesa-Bianchi and Fischer, 2002)."""

    name = "ucb1-tuned"

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score:
        del rows
        log = math.log(max(scene.pooled.started, 1))

        def bonus(row: DirectionRow, count: int) -> float:
            return math.sqrt(log / count * min(0.25, _variance(row) + math.sqrt(2.0 * log / count)))

        return _with_bonus(bonus)


class UcbV:
    """Mean + sqrt(2 variance ln t / N) + 3 ln t / N (Audibert, Munos and Szepesvári, 2009)."""

    name = "ucb-v"

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score:
        del rows
        log = math.log(max(scene.pooled.started, 1))
        return _with_bonus(
            lambda row, count: math.sqrt(2.0 * _variance(row) * log / count) + 3.0 * log / count
        )


@dataclass(frozen=True, slots=True)
class PerCost:
    """Another policy's index per unit of expected cost, for runs whose budget is money
    (as KUBE does: Tran-Thanh, Chapman, Rogers and Jennings, 2012).

    The expected cost of a direction is its mean, with one visit at the mean of all imagined before.
    """

    of: IndexPolicy

    @property
    def name(self) -> str:
        return f"{self.of.name}-per-cost"

    def scores(self, rows: Iterable[DirectionRow], scene: Scene) -> Score:
        indexes, dispersion = self.of.at(scene.pooled), scene.pooled.dispersion
        visits = sum(row.visits for row in rows)
        usual = sum(row.cost_sum_micro for row in rows) / visits if visits else 0.0

        def score(row: DirectionRow) -> float:
            found = self.of.estimate(row, row.id in scene.spawned, dispersion, UNKNOWN)
            index = indexes.of(found.group, found.weight, found.mean, row.in_flight, -math.inf)
            if not usual:
                return index
            cost = (row.cost_sum_micro + usual) / (row.visits + 1)
            return index * usual / cost

        return score


def _variance(row: DirectionRow) -> float:
    mean = mean_of(row)
    return max(0.0, row.reward_squares / (MICRO * MICRO * row.visits) - mean * mean) if row.visits else 0.25


def _with_bonus(bonus: Callable[[DirectionRow, int], float]) -> Score:
    def score(row: DirectionRow) -> float:
        count = row.visits + row.in_flight
        return mean_of(row) + bonus(row, count) if count else math.inf

    return score
