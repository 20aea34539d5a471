"""The policies by name."""

from collections.abc import Iterable, Mapping
from functools import partial

from blackboard.state import DirectionRow
from coordinator.frontier.adaptive import Adaptive
from coordinator.frontier.contract import Frontier, FrontierFactory
from coordinator.frontier.indexed import IndexFrontier, IndexPolicy
from coordinator.frontier.indexes import INDEX_RULES
from coordinator.frontier.scanned import PerCost, ScanFrontier, ScanPolicy, Thompson, Ucb1Tuned, UcbV, Uniform
from coordinator.frontier.tree import ProgressiveWidening, Puct, TreeFrontier, TreePolicy, WuUct
from protocol.errors import InvalidSettings

DEFAULT_POLICY = Adaptive.name
_INDEXED: tuple[IndexPolicy, ...] = (Adaptive(), *INDEX_RULES)
_SCANNED: tuple[ScanPolicy, ...] = (Uniform(), Thompson(), Ucb1Tuned(), UcbV(), PerCost(Adaptive()))
_TREES: tuple[TreePolicy, ...] = (WuUct(), ProgressiveWidening(), Puct())

POLICIES: Mapping[str, FrontierFactory] = {
    **{policy.name: partial(IndexFrontier, policy) for policy in _INDEXED},
    **{policy.name: partial(ScanFrontier, policy) for policy in _SCANNED},
    **{policy.name: partial(TreeFrontier, policy) for policy in _TREES},
}


def frontier(name: str, rows: Iterable[DirectionRow] = ()) -> Frontier:
    """A frontier with the named policy over all directions of one agent, retired ones included.

    :raises InvalidSettings: there is no policy of that name.
    """
    factory = POLICIES.get(name)
    if factory is None:
        raise InvalidSettings("policy", f"there is no policy {name!r}", f"use one of {', '.join(POLICIES)}")
    return factory(rows)
