"""A frontier over any index that rises with the mean and falls with the count: a choice in O(log n)."""

import math
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import Pooled, contribution
from coordinator.frontier.restarts import Restarts
from coordinator.frontier.staircase import KEPT, Arm, Restart, Staircase

RUNNERS_UP = KEPT - 1
_BELOW_ALL = -1.0


class Estimate(NamedTuple):
    """What a policy makes of one row alone: visits that count (the prior's included) and their rewards."""

    weight: int
    sum_micro: int
    group: int = 0
    restart: Restart | None = None


Index = Callable[[int, float, int, float], float]
"""The index at one moment, of count, mean and visits in flight. Where it is below the fourth argument, any
number below that will do. With nothing in flight it must never fall as the mean rises, nor rise with the
count among the counts of one group.
"""


class IndexPolicy(Protocol):
    """Stateless. `estimate` is a function of the row's settled visits, and of whether another direction led
    to it; `at` of the pooled statistics: the index of each group.
    """

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> int: ...

    @property
    def estimate(self) -> Callable[[DirectionRow, bool], Estimate]: ...

    @property
    def at(self) -> Callable[[Pooled], Sequence[Index]]: ...


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
        self._recent: list[Arm] = []
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
            self._restarts.remove(arm)
            self._estimate(arm)
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
            self._estimate(arm)
            self._place(arm)
        self._turn += 1
        contest = _Contest(self.policy.at(self.pooled), places, self._turn)
        if places > KEPT or self._open <= places:
            contest.enter(arm for arm in self._arms.values() if arm.open)
            return contest.ranking()
        # The best of the last time are likely to be good again: then most others need no exact index.
        candidates = [arm for arm in self._recent if arm.open]
        for stairs in self._idle:
            candidates += stairs.steps
        candidates += self._busy.values()
        contest.enter(candidates)
        steps: dict[Staircase, list[Arm]] = {}
        while (arm := contest.next_to_hide()) is not None and arm.stairs is not None:
            arm.hidden = self._turn
            self._look_behind(arm, arm.stairs, steps.setdefault(arm.stairs, arm.stairs.steps[:]), contest)
        ranking = contest.ranking()
        self._recent = [arm for _, arm in ranking]
        return ranking

    def _look_behind(self, arm: Arm, stairs: Staircase, steps: list[Arm], contest: "_Contest") -> None:
        """Enters those that the arm alone hid.

        An arm of the last time's best that is on no step hides none: what hides it ranks higher, unless
        rounding has it that the two are equal.
        """
        if arm not in steps:
            return
        at = steps.index(arm)
        stop = steps[at + 1] if at + 1 < len(steps) else None
        behind = stairs.behind(arm, steps[at - 1].mean if at else _BELOW_ALL, stop, self._turn)
        contest.enter(behind)
        steps[at : at + 1] = behind

    def _estimate(self, arm: Arm) -> None:
        weight, sum_micro, group, restart = self.policy.estimate(arm.row, arm.spawned)
        arm.stand(weight, sum_micro, group)
        if restart is not None:
            arm.restart = restart
            self._restarts.add(arm)
            if arm.restarted:
                arm.stand(restart.weight, restart.sum_micro, restart.group)

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

    __slots__ = ("_best", "_indexes", "_places", "_turn")

    def __init__(self, indexes: Sequence[Index], places: int, turn: int) -> None:
        self._turn = turn
        self._indexes = indexes
        self._places = places
        self._best: list[_Ranked] = []

    def enter(self, arms: Iterable[Arm]) -> None:
        """Once per contest: arms that entered before are passed over."""
        best, places, turn, indexes = self._best, self._places, self._turn, self._indexes
        least = best[0][0] if len(best) == places else -math.inf
        for arm in arms:
            if arm.turn == turn:
                continue
            arm.turn = turn
            count, mean, in_flight = arm.count, arm.mean, arm.in_flight
            score = indexes[arm.group](count, mean, in_flight, least)
            if score < least:
                continue
            insort(best, (score, mean, -count - in_flight, -arm.opened, arm))
            if len(best) > places:
                del best[0]
            if len(best) == places:
                least = best[0][0]

    def next_to_hide(self) -> Arm | None:
        """The best arm still in a bucket, which may hide others of the best; the last place hides none."""
        best = self._best
        last = len(best) - self._places
        for place in range(len(best) - 1, max(last, -1), -1):
            arm = best[place][4]
            if arm.stairs is not None and arm.hidden != self._turn:
                return arm
        return None

    def ranking(self) -> list[tuple[float, Arm]]:
        return [(ranked[0], ranked[4]) for ranked in reversed(self._best)]


def _term(score: float, arm: Arm) -> Term:
    row, mean = arm.row, arm.mean
    index = min(score, 1e9)
    prior = row.prior_micro
    return Term(
        row.id,
        index,
        mean,
        row.visits,
        arm.in_flight,
        index - mean,
        None if prior is None else prior / MICRO,
        int(arm.restarted),
        arm.count,
    )
