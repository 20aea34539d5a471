"""The policies by name."""

from collections.abc import Iterable, Mapping

from blackboard.state import DirectionRow
from coordinator.frontier.contract import Frontier, FrontierFactory
from coordinator.frontier.ucb1 import Ucb1
from protocol.errors import InvalidSettings

POLICIES: Mapping[str, FrontierFactory] = {"ucb1": Ucb1}


def frontier(name: str, rows: Iterable[DirectionRow] = ()) -> Frontier:
    """A frontier with the named policy over all directions of one agent, retired ones included.

    :raises InvalidSettings: there is no policy of that name.
    """
    factory = POLICIES.get(name)
    if factory is None:
        raise InvalidSettings("policy", f"there is no policy {name!r}", f"use one of {', '.join(POLICIES)}")
    return factory(rows)
