"""What visits do to a direction's statistics: the only code that changes them.

The result depends on which visits told what, never on the order in which they told it: sums are
integers, and recent yields are kept by visit number. Each visit must tell or expire once; whoever
calls makes repeated deliveries harmless (by task or ticket).
"""

from collections.abc import Iterable

from blackboard.state import DirectionRow

NEWEST_KEPT = 8
"""Yields that stay apart at each scale of the histogram: the newest 8 one by one, then 8 pairs, 8 fours, …"""


Told = tuple[int, int, int]
"""Number of a visit, its reward and its cost, both in micro-units."""


def start(row: DirectionRow) -> int:
    """A visit is dispatched for the first time; returns its number, from 1."""
    row.numbered += 1
    row.in_flight += 1
    return row.numbered


def tell(row: DirectionRow, visit: int, reward_micro: int, cost_micro: int = 0) -> None:
    """The visit with this number has ended with a reward in micro-units, and a cost."""
    row.in_flight -= 1
    row.visits += 1
    row.reward_sum_micro += reward_micro
    row.reward_squares += reward_micro * reward_micro
    row.reward_best_micro = max(row.reward_best_micro, reward_micro)
    row.cost_sum_micro += cost_micro
    if row.first_visit == 0 or visit < row.first_visit:
        row.first_visit, row.first_micro = visit, reward_micro
    if visit > row.last_visit:
        for last in range(row.last_visit, visit - 1):
            row.yields = _advanced(row.yields, last, 0, 0)
        row.yields = _advanced(row.yields, visit - 1, 1, reward_micro)
        row.last_visit = visit
    else:
        row.yields = _added(row.yields, row.last_visit, visit, reward_micro)


def recount(row: DirectionRow, told: Iterable[Told]) -> None:
    """The statistics from the start: these visits have told, those that expired have not, the others are
    in flight.
    """
    row.in_flight = row.numbered - row.expired
    row.visits = row.reward_sum_micro = row.reward_squares = row.reward_best_micro = row.cost_sum_micro = 0
    row.first_visit = row.first_micro = row.last_visit = 0
    row.yields = ()
    for visit, reward_micro, cost_micro in told:
        tell(row, visit, reward_micro, cost_micro)


def expire(row: DirectionRow) -> None:
    """A visit was cancelled: it tells nothing."""
    row.in_flight -= 1
    row.expired += 1


def _advanced(yields: tuple[int, ...], last: int, count: int, sum_micro: int) -> tuple[int, ...]:
    """The same yields with a block for the visit after `last`: at most one pair of blocks merges per size.

    An exponential histogram (Datar, Gionis, Indyk, Motwani, 2002) with aligned blocks: as the last
    visit grows, blocks only ever merge with their neighbours.
    """
    high, size = last + 1, 1
    if high % 2:  # they merge in pairs, and the first of a pair completes none
        return (*yields, count, sum_micro)
    blocks = [*yields, count, sum_micro]
    at = len(blocks)
    while high % (2 * size) == 0 and high > NEWEST_KEPT * size:
        at -= 2 * NEWEST_KEPT + 4
        blocks[at : at + 4] = (blocks[at] + blocks[at + 2], blocks[at + 1] + blocks[at + 3])
        at, high, size = at + 2, high - NEWEST_KEPT * size, 2 * size
    return tuple(blocks)


def _low(high: int, size: int) -> int:
    """Where the blocks of a size that end at `high` begin: the larger ones come before."""
    low = max(0, high - NEWEST_KEPT * size)
    return low - low % (2 * size)


def _added(yields: tuple[int, ...], last: int, visit: int, reward_micro: int) -> tuple[int, ...]:
    at = 2 * _block(last, visit, len(yields) // 2)
    blocks = list(yields)
    blocks[at] += 1
    blocks[at + 1] += reward_micro
    return tuple(blocks)


def _block(last: int, visit: int, blocks: int) -> int:
    """Which of the blocks a visit belongs to."""
    end, high, size = blocks, last, 1
    while visit <= (low := _low(high, size)):
        end -= (high - low) // size
        high, size = low, 2 * size
    return end - 1 - (high - visit) // size
