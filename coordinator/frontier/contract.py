"""The contract between the leader and a policy that chooses directions.

A frontier holds the open directions of one agent in one run. It is an index over rows: it is built
from `DirectionRow`s at take-over and then follows the events, so it never has to be persisted.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from blackboard.events import Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import Pooled


class Frontier(Protocol):
    """Asked for a direction, told what became of it. Row objects are shared, and already updated
    when a method is called: `changed(row)` means that its visits, rewards, in-flight count or
    retirement are not what they were.
    """

    @property
    def pooled(self) -> Pooled:
        """What all directions say together, for the rule that retires them."""
        ...

    def opened(self, row: DirectionRow) -> None: ...

    def changed(self, row: DirectionRow) -> None: ...

    def choose(self, decision: int, seed: int) -> Choice | None:
        """The direction to visit next, with its reasons; None when nothing can be visited.

        Changes nothing. `decision` numbers the run's choices and `seed` is the run's, for policies
        that draw (counter-based, so that a replay is exact).
        """
        ...

    def ranking(self, places: int, decision: int = 0, seed: int = 0) -> Sequence[Term]:
        """The first of those that a choice would weigh, the chosen one first."""
        ...


FrontierFactory = Callable[[Iterable[DirectionRow]], Frontier]
"""Builds a frontier over all directions of an agent, retired ones included: they still inform it."""
