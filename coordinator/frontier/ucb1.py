"""UCB1 (Auer, Cesa-Bianchi, Fischer, 2002) that counts unfinished visits, as WU-UCT does (Liu et al., 2020)."""

import math
from collections.abc import Iterable

from blackboard.events import MICRO, Choice, Term
from blackboard.state import DirectionRow

RUNNERS_UP = 3


class Ucb1:
    """Index: mean + sqrt(2 ln t / n), with n and t counting completed and unfinished visits.

    Directions that were never visited come first, by prior, then by age. A choice costs O(n) in
    the open directions.
    """

    name = "ucb1"

    def __init__(self, rows: Iterable[DirectionRow] = ()) -> None:
        self._open: dict[str, DirectionRow] = {}
        self._starts = 0
        for row in rows:
            self._starts += row.visits + row.in_flight
            self.opened(row)

    def opened(self, row: DirectionRow) -> None:
        if row.open:
            self._open[row.id] = row

    def changed(self, row: DirectionRow) -> None:
        if not row.open:
            self._open.pop(row.id, None)

    def choose(self, decision: int, seed: int) -> Choice | None:
        del decision, seed
        if not self._open:
            return None
        total = sum(row.visits + row.in_flight for row in self._open.values())
        log_total = math.log(max(total, 1))
        ranked = sorted(self._open.values(), key=lambda row: self._rank(row, log_total))[: RUNNERS_UP + 1]
        terms = tuple(_term(row, log_total) for row in ranked)
        return Choice(
            policy=self.name, chosen=terms[0], runners_up=terms[1:], open_directions=len(self._open)
        )

    @staticmethod
    def _rank(row: DirectionRow, log_total: float) -> tuple[float, float, int]:
        count = row.visits + row.in_flight
        if count == 0:
            return -math.inf, -(row.prior_micro or 0), row.opened
        return -_index(row, count, log_total), -(row.prior_micro or 0), row.opened


def _mean(row: DirectionRow) -> float:
    return row.reward_sum_micro / MICRO / row.visits if row.visits else (row.prior_micro or 0) / MICRO


def _index(row: DirectionRow, count: int, log_total: float) -> float:
    return _mean(row) + math.sqrt(2 * log_total / count)


def _term(row: DirectionRow, log_total: float) -> Term:
    count = row.visits + row.in_flight
    mean = _mean(row)
    bonus = math.sqrt(2 * log_total / count) if count else 1e9
    return Term(
        direction=row.id,
        index=mean + bonus,
        mean=mean,
        visits=row.visits,
        in_flight=row.in_flight,
        bonus=bonus,
        prior=None if row.prior_micro is None else row.prior_micro / MICRO,
    )
