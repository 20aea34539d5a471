"""Policies that descend the tree of directions: at each, visit it, or go on to a child that it spawned.

A choice costs O(children on the way down). Statistics of a subtree are those of all its directions.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow
from coordinator.frontier.indexed import RUNNERS_UP
from coordinator.frontier.pooled import NOTHING, Contribution, Pooled, contribution
from coordinator.frontier.promises import ROOT_PRIOR_MICRO, prior_of
from coordinator.frontier.scanned import choice_of, term


class Standing(NamedTuple):
    """Open directions, visits completed and unfinished, rewards in micro-units: of one row, or a subtree."""

    open: int = 0
    visits: int = 0
    in_flight: int = 0
    rewards: int = 0
    best: int = 0
    """The highest mean reward of a direction."""


NONE = Standing()


@dataclass(slots=True, eq=False)
class Node:
    """A direction, and the sums over the subtree that it heads; the root of all has no row."""

    row: DirectionRow | None
    parent: "Node | None"
    children: list["Node"] = field(default_factory=list["Node"])
    own: Standing = NONE
    total: Standing = NONE
    counted: Contribution = NOTHING

    @property
    def prior_micro(self) -> int:
        return ROOT_PRIOR_MICRO if self.row is None else prior_of(self.row)


class TreePolicy(Protocol):
    @property
    def name(self) -> str: ...

    def admitted(self, node: Node) -> list[Node]:
        """The children that may be descended into."""
        ...

    def score(self, standing: Standing, parent: Standing, prior_micro: int) -> float: ...


class TreeFrontier:
    """The tree of directions under a policy for one step down."""

    def __init__(self, policy: TreePolicy, rows: Iterable[DirectionRow] = ()) -> None:
        self.policy = policy
        self.pooled = Pooled()
        self._root = Node(None, None)
        self._nodes: dict[str, Node] = {}
        for row in sorted(rows, key=lambda row: row.opened):
            self.opened(row)

    def opened(self, row: DirectionRow) -> None:
        self.pooled.opened += 1
        parent = self._nodes.get(row.parent or "", self._root)
        self._nodes[row.id] = node = Node(row, parent)
        parent.children.append(node)
        self.changed(row)

    def changed(self, row: DirectionRow) -> None:
        node = self._nodes[row.id]
        counted = contribution(row)
        self.pooled.replace(node.counted, counted, node.parent is not self._root)
        node.counted = counted
        self.pooled.in_flight += row.in_flight - node.own.in_flight
        mean = row.reward_sum_micro // max(row.visits, 1)
        old, new = node.own, Standing(int(row.open), row.visits, row.in_flight, row.reward_sum_micro, mean)
        node.own = new
        above: Node | None = node
        while above is not None:
            total = above.total
            sums = [now + b - a for now, a, b in zip(total[:4], old, new, strict=False)]
            best = max((child.total.best for child in above.children), default=0)
            above.total = Standing(*sums, best=max(above.own.best, best))
            above = above.parent

    def choose(self, decision: int, seed: int) -> Choice | None:
        terms = self.ranking(RUNNERS_UP + 1, decision, seed)
        return choice_of(self.policy.name, terms, self._root.total.open, self.pooled)

    def ranking(self, places: int, decision: int = 0, seed: int = 0) -> tuple[Term, ...]:
        """The options of the last step down: the chosen direction, and its children as subtrees."""
        del decision, seed
        if not self._root.total.open:
            return ()
        node, options = self._root, self._options(self._root)
        while options[0][1] is not node:
            node = options[0][1]
            options = self._options(node)
        rows = [(score, option.row) for score, option in options[:places]]
        return tuple(term(row, score) for score, row in rows if row is not None)

    def _options(self, node: Node) -> list[tuple[float, Node]]:
        """Best first; the node itself stands for visiting its own direction."""
        children = [child for child in self.policy.admitted(node) if child.total.open]
        found = [(self.policy.score(child.total, node.total, child.prior_micro), child) for child in children]
        if node.own.open:
            found.append((self.policy.score(node.own, node.total, node.prior_micro), node))
        if not found:
            closed = (child for child in node.children if child.total.open)
            found = [
                (self.policy.score(child.total, node.total, child.prior_micro), child) for child in closed
            ]
        return sorted(found, key=lambda pair: -pair[0])


def _uct(standing: Standing, parent: Standing, exploration: float) -> float:
    """Mean + c sqrt(ln N_parent / N), unfinished visits counted."""
    count = standing.visits + standing.in_flight
    if not count:
        return math.inf
    mean = standing.rewards / (MICRO * standing.visits) if standing.visits else 0.5
    return mean + exploration * math.sqrt(math.log(max(parent.visits + parent.in_flight, 1)) / count)


class WuUct:
    """UCT over the tree, unfinished visits counted on the way (Liu et al., 2020)."""

    name = "wu-uct"

    def admitted(self, node: Node) -> list[Node]:
        return node.children

    def score(self, standing: Standing, parent: Standing, prior_micro: int) -> float:
        score = _uct(standing, parent, math.sqrt(2.0))
        return 1e6 + prior_micro / MICRO if math.isinf(score) else score


class ProgressiveWidening:
    """Children are admitted best prior first, N^0.5 of them after N visits (Couëtoux et al., 2011)."""

    name = "progressive-widening"

    def admitted(self, node: Node) -> list[Node]:
        allowed = math.isqrt(node.total.visits + node.total.in_flight) + 1
        return heapq.nlargest(allowed, node.children, key=lambda child: child.prior_micro)

    def score(self, standing: Standing, parent: Standing, prior_micro: int) -> float:
        count = standing.visits + standing.in_flight
        prior = prior_micro / MICRO
        mean = (standing.rewards / MICRO + prior) / (standing.visits + 1)
        log = math.log(max(parent.visits + parent.in_flight, 1))
        return mean + 0.2 * math.sqrt(log / (count + 1))


class Puct:
    """Best + 0.2 prior sqrt(N_parent) / (1 + N), with the best mean reward found below a child, not the
    average (max backup), for its value (PUCT: Rosin, 2011; Silver et al., 2017).
    """

    name = "puct"

    def admitted(self, node: Node) -> list[Node]:
        return node.children

    def score(self, standing: Standing, parent: Standing, prior_micro: int) -> float:
        value = standing.best if standing.visits else prior_micro
        explored = math.sqrt(parent.visits + parent.in_flight) / (1 + standing.visits + standing.in_flight)
        return (value + 0.2 * prior_micro * explored) / MICRO
