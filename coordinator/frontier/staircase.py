"""Exact argmax over arms whose index rises with the mean and falls with the count.

Every index changes with the clock, so nothing that depends on it can be kept sorted. But of arms
with the same count the best mean wins, at every time; and of two best ones the one with more visits
can only win with a strictly better mean. What remains, the staircase, is short.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from operator import attrgetter
from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.pooled import NOTHING, Contribution

KEPT = 4
"""The best of a bucket that are always known in order: a choice and its runners-up."""
_MOST_KEPT = 3 * KEPT
_EMPTY = -1.0
_COUNT = attrgetter("count")
_SLACK = 32
"""Dead entries that a bucket may keep beyond the number of living ones."""


class Estimate(NamedTuple):
    """What a policy makes of one row: visits that count (the prior's included) and their rewards."""

    weight: int
    sum_micro: int
    group: int = 0
    edge: float = 0.0
    """It holds for pooled dispersions below if it has restarted, and otherwise from there on."""
    restarted: bool = False
    """Whether only the visits since a drop count."""
    visits: int = 0
    """All visits of the row that told, and in `told_micro` what they told."""
    told_micro: int = 0
    last_visit: int = 0
    """Number of the highest of them."""

    @property
    def mean(self) -> float:
        """Without visits the prior, which is the sum."""
        return self.sum_micro / (MICRO * (self.weight or 1))


UNKNOWN = Estimate(0, 0)


class Arm:
    """A direction as a policy sees it: the count and sum of rewards that matter now, and its place."""

    __slots__ = (
        "count",
        "entry",
        "estimate",
        "group",
        "in_flight",
        "mean",
        "open",
        "opened",
        "pooled",
        "row",
        "settled",
        "spawned",
        "stairs",
        "sum_micro",
        "turn",
    )

    def __init__(self, row: DirectionRow, spawned: bool) -> None:
        self.row = row
        self.spawned = spawned
        """Whether another direction of this frontier led to it."""
        self.estimate = UNKNOWN
        """The last one, where a later one may start from it."""
        self.group = 0
        self.opened = row.opened
        self.count = 0
        self.sum_micro = 0
        self.mean = 0.0
        self.in_flight = 0
        self.entry: Entry | None = None
        self.stairs: Staircase | None = None
        """Where it stands, while nothing is in flight."""
        self.open = True
        self.settled = -1
        """Visits told or expired when `pooled` and the estimate were made."""
        self.pooled: Contribution = NOTHING
        self.turn = 0
        """The last choice in which it was among the best so far."""

    def stand(self, estimate: Estimate) -> None:
        """Sets group, count, sum and mean."""
        self.estimate = estimate if estimate.visits > 1 else UNKNOWN  # most have few visits: it saves memory
        self.count, self.sum_micro, self.group = estimate[:3]
        self.mean = estimate.mean


Entry = tuple[int, int, Arm]
"""Sum negated, ordinal of the direction, arm: the least is the best of its bucket, ties to the older."""


class Bucket:
    """Arms of one count: the best few sorted, the others in a heap, from which the dead are dropped late."""

    __slots__ = ("best", "dead", "others")

    def __init__(self) -> None:
        self.best: list[Entry] = []
        self.others: list[Entry] = []
        self.dead = 0

    def add(self, entry: Entry) -> None:
        best = self.best
        if self.others and entry > best[-1]:
            heapq.heappush(self.others, entry)
            return
        insort(best, entry)
        if len(best) > _MOST_KEPT:
            heapq.heappush(self.others, best.pop())

    def remove(self, entry: Entry) -> None:
        """Takes out an entry whose arm has let go of it."""
        best, others = self.best, self.others
        if entry > best[-1]:
            self.dead += 1
            if 2 * self.dead > len(others) + _SLACK:
                others[:] = [kept for kept in others if kept[2].entry is kept]
                heapq.heapify(others)
                self.dead = 0
            return
        best.remove(entry)
        while len(best) < KEPT and others:
            kept = heapq.heappop(others)
            if kept[2].entry is kept:
                best.append(kept)
            else:
                self.dead -= 1


class Staircase:
    """A bucket of arms per count, a max-tree of their best means over the counts, and the steps."""

    def __init__(self) -> None:
        self.steps: list[Arm] = []
        """The best of their buckets by ascending count, each with a mean above those before it."""
        self.hides = False
        """Whether the best of some bucket is no step."""
        self._hidden: dict[int, float] = {}
        """By the count of a step the best mean that it hides; what was asked for since a head changed."""
        self._buckets: dict[int, Bucket] = {}
        """Those that hold an arm: one direction may have had any number of visits."""
        self._size = 1
        self._tree = [_EMPTY, _EMPTY]

    def add(self, arm: Arm) -> None:
        """Enters an arm that is in no bucket, under its present count and sum."""
        count = arm.count
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._buckets[count] = Bucket()
        arm.entry = entry = (-arm.sum_micro, arm.opened, arm)
        arm.stairs = self
        bucket.add(entry)
        if bucket.best[0] is entry:
            self._head_changed(count, arm)

    def remove(self, arm: Arm) -> None:
        """Takes out an arm that is in a bucket, before its count or sum change."""
        bucket, entry = self._buckets[arm.count], arm.entry
        if entry is None:
            return
        arm.entry = arm.stairs = None
        was_head = bucket.best[0] is entry
        bucket.remove(entry)
        if not bucket.best:
            del self._buckets[arm.count]
        if was_head:
            self._head_changed(arm.count, bucket.best[0][2] if bucket.best else None)

    def next_to(self, arm: Arm) -> Arm | None:
        """The one that the arm hides in its bucket, if that can be among the best."""
        if arm.entry is None:
            return None
        best = self._buckets[arm.count].best
        after = bisect_right(best, arm.entry)
        return best[after][2] if after < len(best) else None

    def hidden_by(self, arm: Arm) -> tuple[float, int]:
        """The best mean that the arm hides with its step, and the count up to which it hides."""
        after = bisect_right(self.steps, arm.count, key=_COUNT)
        if not after or self.steps[after - 1] is not arm:
            return _EMPTY, 0
        end = self._count_at(after)
        mean = self._hidden.get(arm.count)
        if mean is None:
            mean = self._hidden[arm.count] = self._best_between(arm.count + 1, end)
        return mean, end

    def head(self, count: int, end: int, mean: float) -> Arm | None:
        """The best of the next bucket, from a count to before another, in which there is a better mean."""
        found = self._following(count, mean)
        return self._buckets[found].best[0][2] if 0 <= found < end else None

    def _head_changed(self, count: int, head: Arm | None) -> None:
        """Mends tree and steps after the best of a bucket has become another, or none."""
        self._set(count, _EMPTY if head is None else head.mean)
        steps = self.steps
        at = bisect_left(steps, count, key=_COUNT)
        was_step = self._count_at(at) == count
        mean = steps[at - 1].mean if at else _EMPTY
        end = at + was_step
        found: list[Arm] = []
        if head is not None and head.mean > mean:
            found.append(head)
            mean = head.mean
            while end < len(steps) and steps[end].mean <= mean:
                end += 1
        if was_step:
            last = self._count_at(end)
            while 0 <= (count := self._following(count + 1, mean)) < last:
                found.append(self._buckets[count].best[0][2])
                mean = found[-1].mean
        steps[at:end] = found
        self._hidden.clear()
        self.hides = len(self._buckets) > len(steps)

    def _count_at(self, step: int) -> int:
        """Above all after the last."""
        return self.steps[step].count if step < len(self.steps) else self._size

    def _best_between(self, count: int, end: int) -> float:
        """The best mean from a count to before another."""
        low, high, tree, best = self._size + count, self._size + end, self._tree, _EMPTY
        while low < high:
            if low % 2:
                best = max(best, tree[low])
                low += 1
            if high % 2:
                high -= 1
                best = max(best, tree[high])
            low //= 2
            high //= 2
        return best

    def _following(self, count: int, mean: float) -> int:
        """The least count from `count` up whose best mean is above `mean`; -1 if there is none."""
        node = self._size + count
        tree = self._tree
        if node >= len(tree):
            return -1
        while tree[node] <= mean:
            node += 1
            node >>= (node & -node).bit_length() - 1
            if node == 1:
                return -1
        while node < self._size:
            node *= 2
            if tree[node] <= mean:
                node += 1
        return node - self._size

    def _set(self, count: int, mean: float) -> None:
        while count >= self._size:
            self._grow()
        tree, node = self._tree, self._size + count
        tree[node] = mean
        while node > 1:
            other = tree[node ^ 1]
            best = max(mean, other)
            node >>= 1
            if tree[node] == best:
                return
            tree[node] = mean = best

    def _grow(self) -> None:
        leaves = self._tree[self._size :] + [_EMPTY] * self._size
        self._size *= 2
        self._tree = [_EMPTY] * self._size + leaves
        for node in range(self._size - 1, 0, -1):
            self._tree[node] = max(self._tree[2 * node], self._tree[2 * node + 1])
