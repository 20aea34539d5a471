"""A frontier over any index that rises with the mean and falls with the count: a choice in O(log n)."""

import math
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import Pooled, contribution
from coordinator.frontier.restarts import Restarts
from coordinator.frontier.staircase import KEPT, UNKNOWN, Arm, Estimate, Staircase

RUNNERS_UP = KEPT - 1
_BELOW_ALL = -1.0
HIGHEST = 1e9
"""What is recorded of an index that is infinite."""

Index = Callable[[int, int, float, int, float], float]
"""The index at one moment, of group, count, mean and visits in flight. Where it is below the last argument,
any number below that will do. With nothing in flight it must never fall as the mean rises, nor rise with the
count among the counts of one group.
"""


class Indexes(NamedTuple):
    """The indexes at one moment, each less than mean * scale + reach of its group, whatever is in flight."""

    of: Index
    scales: Sequence[float]
    reaches: Sequence[float]


class IndexPolicy(Protocol):
    """Stateless. `at` is a function of the pooled statistics; `estimate` of the row's settled visits, whether
    another direction led to it, and the pooled dispersion. An estimate of the same row that is known from
    before may save work; it changes nothing but the edge.
    """

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> int: ...

    @property
    def estimate(self) -> Callable[[DirectionRow, bool, float, Estimate], Estimate]: ...

    @property
    def at(self) -> Callable[[Pooled], Indexes]: ...


class IndexFrontier:
    """The open directions under an index policy; exact, ties included."""

    def __init__(self, policy: IndexPolicy, rows: Iterable[DirectionRow] = ()) -> None:
        self.policy = policy
        self.pooled = Pooled()
        self._arms: dict[str, Arm] = {}
        self._busy: dict[str, Arm] = {}
        self._idle = tuple(Staircase() for _ in range(policy.groups))
        self._restarts = Restarts()
        self._open = 0
        self._turn = 0
        self._recent: list[tuple[float, Arm]] = []
        self._closed: set[str] = set()
        for row in sorted(rows, key=lambda row: row.opened):
            self.opened(row)

    def opened(self, row: DirectionRow) -> None:
        self.pooled.opened += 1
        self._open += 1
        spawned = row.parent is not None and (row.parent in self._arms or row.parent in self._closed)
        self._arms[row.id] = Arm(row, spawned)
        self.changed(row)

    def changed(self, row: DirectionRow) -> None:
        arm = self._arms.get(row.id)
        if arm is None:
            return
        self.pooled.in_flight += row.in_flight - arm.in_flight
        settled = row.visits + row.expired
        learned = settled != arm.settled
        if arm.stairs is not None:
            arm.stairs.remove(arm)
        arm.in_flight = row.in_flight
        if learned:
            counted = contribution(row)
            self.pooled.replace(arm.pooled, counted, arm.spawned)
            arm.pooled, arm.settled = counted, settled
        if not row.open:
            self._close(arm)
            return
        if learned:
            self._estimate(arm, arm.estimate)
        self._place(arm)

    def choose(self, decision: int, seed: int) -> Choice | None:
        del decision, seed
        best = self.best(KEPT)
        if not best:
            return None
        terms = tuple([_term(score, arm) for score, arm in best])
        learned, started = self.pooled.learned, self.pooled.started
        outlook = learned.spawned if best[0][1].spawned else learned.planned
        return Choice(
            self.policy.name,
            terms[0],
            terms[1:],
            self._open,
            started,
            learned.dispersion,
            learned.decay,
            outlook.surprise,
        )

    def ranking(self, places: int, decision: int = 0, seed: int = 0) -> tuple[Term, ...]:
        del decision, seed
        return tuple([_term(score, arm) for score, arm in self.best(places)])

    def arms(self) -> Iterable[Arm]:
        """The open directions, and those that closed with visits in flight."""
        return self._arms.values()

    def best(self, places: int) -> list[tuple[float, Arm]]:
        """The best open directions, best first, with their indexes: those that a full scan would rank first.

        More than `KEPT` places cost a full scan.
        """
        for arm in self._restarts.move(self.pooled.dispersion):
            if arm.stairs is not None:
                arm.stairs.remove(arm)
            self._estimate(arm, UNKNOWN)
            self._place(arm)
        self._turn += 1
        contest = _Contest(self.policy.at(self.pooled), places, self._turn)
        if places > KEPT or self._open <= places:
            contest.enter([arm for arm in self._arms.values() if arm.open])
            return contest.ranking()
        # The best of the last time are likely to be good again: then most others need no exact index.
        candidates = [arm for _, arm in self._recent if arm.open]
        for stairs in self._idle:
            candidates += stairs.steps
        candidates += self._busy.values()
        contest.enter(candidates)
        for arm in contest.hiding():
            if arm.stairs is not None and arm.stairs.hides:
                self._look_behind(arm, arm.stairs, contest)
        self._recent = ranking = contest.ranking()
        return ranking

    def _look_behind(self, arm: Arm, stairs: Staircase, contest: "_Contest") -> None:
        """Enters those of other buckets that the arm alone hid. What is not among the best hides as well."""
        hidden, end = stairs.hidden_by(arm)
        count, mean = arm.count, contest.mean_needed(arm.group)
        while hidden > mean and (head := stairs.head(count + 1, end, mean)) is not None:
            contest.enter([head])
            count = head.count
            if not contest.held(head):
                mean = max(mean, head.mean)

    def _estimate(self, arm: Arm, known: Estimate) -> None:
        self._restarts.remove(arm)
        arm.stand(self.policy.estimate(arm.row, arm.spawned, self._restarts.dispersion, known))
        self._restarts.add(arm)

    def _place(self, arm: Arm) -> None:
        if arm.in_flight:
            self._busy[arm.row.id] = arm
        else:
            self._busy.pop(arm.row.id, None)
            self._idle[arm.group].add(arm)

    def _close(self, arm: Arm) -> None:
        """Takes a direction out of all that is searched; what is in flight still informs it."""
        if arm.open:
            arm.open = False
            self._open -= 1
            self._restarts.remove(arm)
            self._busy.pop(arm.row.id, None)
        if not arm.in_flight:
            del self._arms[arm.row.id]
            self._closed.add(arm.row.id)


_Ranked = tuple[float, float, int, int, Arm]
"""By index, then mean, then fewer visits, then age; the greatest is chosen."""


class _Contest:
    """Keeps the best arms of those that enter."""

    __slots__ = ("_best", "_index", "_least", "_places", "_reaches", "_scales", "_turn")

    def __init__(self, indexes: Indexes, places: int, turn: int) -> None:
        self._turn = turn
        self._index, self._scales, self._reaches = indexes
        self._places = places
        self._best: list[_Ranked] = []
        self._least = -math.inf
        """The index of the last of the best; below any as long as there is room."""

    def enter(self, arms: list[Arm]) -> None:
        """Passes over those that are among the best already; the best of a bucket brings the next of it."""
        best, places, turn, least = self._best, self._places, self._turn, self._least
        index, scales, reaches = self._index, self._scales, self._reaches
        for arm in arms:
            mean, group = arm.mean, arm.group
            if mean * scales[group] + reaches[group] < least or arm.turn == turn:
                continue
            count, in_flight = arm.count, arm.in_flight
            score = index(group, count, mean, in_flight, least)
            if score < least:
                continue
            arm.turn = turn
            insort(best, (score, mean, -count - in_flight, -arm.opened, arm))
            if len(best) > places:
                del best[0]
            if len(best) == places:
                least = best[0][0]
            if arm.stairs is not None and (hidden := arm.stairs.next_to(arm)):
                arms.append(hidden)
        self._least = least

    def mean_needed(self, group: int) -> float:
        """Those of the group whose mean is no higher are not among the best."""
        scale, reach = self._scales[group], self._reaches[group]
        if scale <= 0.0 or reach == math.inf:
            return _BELOW_ALL
        return max((self._least - reach) / scale, _BELOW_ALL)

    def hiding(self) -> list[Arm]:
        """Those that may hide others of the best: the last place hides none."""
        return [ranked[4] for ranked in self._best[len(self._best) == self._places :]]

    def held(self, arm: Arm) -> bool:
        """Whether the arm is, or was for a while, among the best."""
        return arm.turn == self._turn

    def ranking(self) -> list[tuple[float, Arm]]:
        return [(ranked[0], ranked[4]) for ranked in reversed(self._best)]


def _term(score: float, arm: Arm) -> Term:
    row, mean = arm.row, arm.mean
    index = min(score, HIGHEST)
    prior = row.prior_micro
    return Term(
        row.id,
        index,
        mean,
        row.visits,
        arm.in_flight,
        index - mean,
        None if prior is None else prior / MICRO,
        1 if arm.estimate.restarted else 0,
        arm.count,
    )
