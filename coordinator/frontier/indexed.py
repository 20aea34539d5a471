"""A frontier over any index that rises with the mean and falls with the count: a choice in O(log n)."""

import math
from bisect import insort
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple, Protocol

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import Pooled, contribution
from coordinator.frontier.restarts import Restarts
from coordinator.frontier.staircase import Arm, Restart, Staircase

RUNNERS_UP = 3
_BELOW_ALL = -1.0


class Estimate(NamedTuple):
    """What a policy makes of one row alone: visits that count (the prior's included) and their rewards."""

    weight: int
    sum_micro: int
    restart: Restart | None = None


class Moment(Protocol):
    """An index at one moment. With nothing in flight it must never fall as the mean rises, nor rise with
    the count among the counts of one group.
    """

    def index(self, count: int, mean: float, in_flight: int, least: float = -math.inf) -> float:
        """Where the index is below `least`, any number below `least` will do."""
        ...


class IndexPolicy(Protocol):
    """Stateless. `estimate` is a function of the row's settled visits, `at` of the pooled statistics."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> int: ...

    @property
    def estimate(self) -> Callable[[DirectionRow], Estimate]: ...

    @property
    def at(self) -> Callable[[Pooled], Moment]: ...

    def group(self, count: int) -> int:
        """Which group a count belongs to, from 0 to groups - 1."""
        ...


class Ranked(NamedTuple):
    """An arm evaluated: by index, then mean, then fewer visits, then age; the greatest is chosen."""

    score: float
    mean: float
    fewer: int
    older: int
    arm: Arm


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
        for row in rows:
            self.opened(row)

    def opened(self, row: DirectionRow) -> None:
        self.pooled.opened += 1
        self._open += 1
        self._arms[row.id] = Arm(row)
        self.changed(row)

    def changed(self, row: DirectionRow) -> None:
        arm = self._arms.get(row.id)
        if arm is None:
            return
        settled = row.visits + row.expired
        learned = settled != arm.settled
        counted = contribution(row) if learned else arm.pooled._replace(in_flight=row.in_flight)
        self.pooled.replace(arm.pooled, counted)
        arm.pooled, arm.settled = counted, settled
        self._leave(arm)
        if not row.open:
            self._close(arm)
            return
        if learned:
            self._restarts.remove(arm)
            self._estimate(arm)
        self._place(arm)

    def choose(self, decision: int, seed: int) -> Choice | None:
        terms = self.ranking(RUNNERS_UP + 1, decision, seed)
        if not terms:
            return None
        pooled = self.pooled
        return Choice(
            policy=self.policy.name,
            chosen=terms[0],
            runners_up=terms[1:],
            open_directions=self._open,
            started=pooled.started,
            dispersion=pooled.dispersion,
            decay=pooled.decay,
            surprise=pooled.surprise,
        )

    def ranking(self, places: int, decision: int = 0, seed: int = 0) -> tuple[Term, ...]:
        del decision, seed
        return tuple(map(_term, self.best(places)))

    def arms(self) -> Iterable[Arm]:
        """The open directions, and those that closed with visits in flight."""
        return self._arms.values()

    def best(self, places: int) -> list[Ranked]:
        """The best open directions, best first: exactly those that a full scan would rank first."""
        for arm in self._restarts.move(self.pooled.dispersion):
            self._leave(arm)
            self._estimate(arm)
            self._place(arm)
        self._turn += 1
        contest = _Contest(self.policy.at(self.pooled), places, self._turn)
        steps = [list(stairs.steps()) for stairs in self._idle]
        # The best of the last time are likely to be good again: then most others need no exact index.
        recent = [arm for arm in self._recent if arm.entry or arm.row.id in self._busy]
        contest.enter(chain(recent, *steps, self._busy.values()))
        hidden: list[Arm] = []
        while (arm := contest.next_to_hide()) is not None:
            hidden.append(arm)
            group = self.policy.group(arm.count)
            self._look_behind(arm, self._idle[group], steps[group], contest)
        for arm in hidden:
            self._idle[self.policy.group(arm.count)].add(arm)
        ranking = contest.ranking()
        self._recent = [ranked.arm for ranked in ranking[: RUNNERS_UP + 1]]
        return ranking

    @staticmethod
    def _look_behind(arm: Arm, idle: Staircase, stairs: list[Arm], contest: "_Contest") -> None:
        """Takes an arm from its staircase, and enters those that it alone hid.

        An arm of the last time's best that is on no step hides none: what hides it ranks higher, unless
        rounding has it that the two are equal.
        """
        idle.remove(arm)
        if arm not in stairs:
            return
        at = stairs.index(arm)
        behind: list[Arm] = []
        stop = stairs[at + 1] if at + 1 < len(stairs) else None
        found = idle.following(arm.count, stairs[at - 1].mean if at else _BELOW_ALL)
        while found is not stop and found is not None:
            behind.append(found)
            found = idle.following(found.count + 1, found.mean)
        contest.enter(behind)
        stairs[at : at + 1] = behind

    def _leave(self, arm: Arm) -> None:
        if arm.entry is not None:
            self._idle[self.policy.group(arm.count)].remove(arm)
        self._busy.pop(arm.row.id, None)

    def _estimate(self, arm: Arm) -> None:
        estimate = self.policy.estimate(arm.row)
        arm.stand(estimate.weight, estimate.sum_micro)
        if estimate.restart is not None:
            arm.restart = estimate.restart
            self._restarts.add(arm)
            if arm.restarted:
                arm.stand(estimate.restart.weight, estimate.restart.sum_micro)

    def _place(self, arm: Arm) -> None:
        if arm.row.in_flight:
            self._busy[arm.row.id] = arm
        else:
            self._idle[self.policy.group(arm.count)].add(arm)

    def _close(self, arm: Arm) -> None:
        """Takes a direction out of all that is searched; what is in flight still informs it."""
        if arm.open:
            arm.open = False
            self._open -= 1
            self._restarts.remove(arm)
        if not arm.row.in_flight:
            del self._arms[arm.row.id]


class _Contest:
    """Keeps the best arms of those that enter."""

    def __init__(self, moment: Moment, places: int, turn: int) -> None:
        self._turn = turn
        self._index = moment.index
        self._places = places
        self._best: list[Ranked] = []

    def enter(self, arms: Iterable[Arm]) -> None:
        """Once per contest: arms that entered before are passed over."""
        best, places, turn, index = self._best, self._places, self._turn, self._index
        least = best[0].score if len(best) == places else -math.inf
        for arm in arms:
            if arm.turn == turn:
                continue
            arm.turn = turn
            in_flight = arm.row.in_flight
            score = index(arm.count, arm.mean, in_flight, least)
            if score < least:
                continue
            insort(best, Ranked(score, arm.mean, -arm.count - in_flight, -arm.row.opened, arm))
            if len(best) > places:
                del best[0]
            if len(best) == places:
                least = best[0].score

    def next_to_hide(self) -> Arm | None:
        """The best arm still in a bucket, which may hide others of the best; the last place hides none."""
        for place, ranked in enumerate(reversed(self._best), start=1):
            if place == self._places:
                return None
            if ranked.arm.entry is not None:
                return ranked.arm
        return None

    def ranking(self) -> list[Ranked]:
        return self._best[::-1]


def _term(ranked: Ranked) -> Term:
    arm, row = ranked.arm, ranked.arm.row
    index = min(ranked.score, 1e9)
    return Term(
        direction=row.id,
        index=index,
        mean=arm.mean,
        visits=row.visits,
        in_flight=row.in_flight,
        bonus=index - arm.mean,
        prior=None if row.prior_micro is None else row.prior_micro / MICRO,
        restarts=int(arm.restarted),
        counted=arm.count,
    )
