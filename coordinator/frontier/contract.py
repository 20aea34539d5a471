"""The contract between the leader and a policy that chooses directions.

A frontier holds the open directions of one agent in one run. It is an index over rows: it is built
from `DirectionRow`s at take-over and then follows the events, so it never has to be persisted.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from blackboard.events import Choice
from blackboard.state import DirectionRow


class Frontier(Protocol):
    """Asked for a direction, told what became of it. Row objects are shared, and already updated
    when a method is called: `changed(row)` means that its visits, rewards, in-flight count or
    retirement are not what they were.
    """

    def opened(self, row: DirectionRow) -> None: ...

    def changed(self, row: DirectionRow) -> None: ...

    def choose(self, decision: int, seed: int) -> Choice | None:
        """The direction to visit next, with its reasons; None when nothing can be visited.

        Changes nothing. `decision` numbers the run's choices and `seed` is the run's, for policies
        that draw (counter-based, so that a replay is exact).
        """
        ...


FrontierFactory = Callable[[Iterable[DirectionRow]], Frontier]
