"""Exact argmax over arms whose index rises with the mean and falls with the count.

Every index changes with the clock, so nothing that depends on it can be kept sorted. But of arms
with the same count the best mean wins, at every time; and of two best ones the one with more visits
can only win with a strictly better mean. What remains, the staircase, is short.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import NOTHING, Contribution

_EMPTY = -1.0
_SLACK = 32
"""Dead entries that a bucket may keep beyond the number of living ones."""


class Restart(NamedTuple):
    """What matters instead of all visits while the pooled dispersion is below `critical`."""

    critical: float
    visits: int
    recent_micro: int
    weight: int
    """Visits that count, a prior's included, and in `sum_micro` their rewards."""
    sum_micro: int


class Arm:
    """A direction as a policy sees it: the count and sum of rewards that matter now, and its place."""

    __slots__ = (
        "count",
        "entry",
        "mean",
        "open",
        "pooled",
        "restart",
        "restarted",
        "row",
        "settled",
        "sum_micro",
        "turn",
    )

    def __init__(self, row: DirectionRow) -> None:
        self.row = row
        self.count = 0
        self.sum_micro = 0
        self.mean = 0.0
        self.entry: Entry | None = None
        self.open = True
        self.settled = -1
        """Visits told or expired when `pooled` and the estimate were made."""
        self.pooled: Contribution = NOTHING
        self.restart: Restart | None = None
        self.restarted = False
        self.turn = 0

    def stand(self, count: int, sum_micro: int) -> None:
        """Sets count and sum, and the mean; of an arm without visits the mean is its prior, the sum."""
        self.count = count
        self.sum_micro = sum_micro
        self.mean = sum_micro / (MICRO * (count or 1))


Entry = tuple[int, int, Arm]
"""Sum negated, ordinal of the direction, arm: the least is the best of its bucket, ties to the older."""


class Staircase:
    """A lazy max-heap of arms per count, and a max-tree of their best means over the counts."""

    def __init__(self) -> None:
        self._buckets: list[list[Entry]] = []
        self._living: list[int] = []
        self._size = 1
        self._tree = [_EMPTY, _EMPTY]

    def add(self, arm: Arm) -> None:
        """Enters an arm that is in no bucket, under its present count and sum."""
        count = arm.count
        while count >= len(self._buckets):
            self._buckets.append([])
            self._living.append(0)
        entry = (-arm.sum_micro, arm.row.opened, arm)
        arm.entry = entry
        heapq.heappush(self._buckets[count], entry)
        self._living[count] += 1
        if self._buckets[count][0] is entry:
            self._rise(count, arm.mean)

    def remove(self, arm: Arm) -> None:
        """Takes out an arm that is in a bucket, before its count or sum change."""
        count, entry = arm.count, arm.entry
        arm.entry = None
        self._living[count] -= 1
        bucket = self._buckets[count]
        if bucket[0] is entry:
            self._drop_dead(count)
        elif len(bucket) > 2 * self._living[count] + _SLACK:
            bucket[:] = [kept for kept in bucket if kept[2].entry is kept]
            heapq.heapify(bucket)

    def head(self, count: int) -> Arm | None:
        """The best arm of a count."""
        return self._buckets[count][0][2] if count < len(self._buckets) and self._buckets[count] else None

    def following(self, count: int, mean: float) -> Arm | None:
        """The head with the least count, from `count` up, whose mean is above `mean`."""
        node = self._size + count
        tree = self._tree
        if node >= len(tree):
            return None
        while tree[node] <= mean:
            while node & 1:
                node >>= 1
            if node == 0:
                return None
            node += 1
        while node < self._size:
            node *= 2
            if tree[node] <= mean:
                node += 1
        return self._buckets[node - self._size][0][2]

    def steps(self) -> Iterator[Arm]:
        """The staircase: heads by ascending count and strictly ascending mean."""
        arm = self.following(0, _EMPTY)
        while arm is not None:
            yield arm
            arm = self.following(arm.count + 1, arm.mean)

    def _drop_dead(self, count: int) -> None:
        bucket = self._buckets[count]
        while bucket and bucket[0][2].entry is not bucket[0]:
            heapq.heappop(bucket)
        self._sink(count, bucket[0][2].mean if bucket else _EMPTY)

    def _rise(self, count: int, mean: float) -> None:
        while count >= self._size:
            self._grow()
        tree, node = self._tree, self._size + count
        while node and tree[node] < mean:
            tree[node] = mean
            node >>= 1

    def _sink(self, count: int, mean: float) -> None:
        tree, node = self._tree, self._size + count
        tree[node] = mean
        node >>= 1
        while node:
            best = max(tree[2 * node], tree[2 * node + 1])
            if tree[node] == best:
                return
            tree[node] = best
            node >>= 1

    def _grow(self) -> None:
        leaves = self._tree[self._size :] + [_EMPTY] * self._size
        self._size *= 2
        self._tree = [_EMPTY] * self._size + leaves
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])
