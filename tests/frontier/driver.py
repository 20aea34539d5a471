"""Drives frontiers with random histories, and ranks by full scan to compare with."""

import math
import random
from collections.abc import Sequence

from blackboard.events import MICRO
from blackboard.rewards import expire, start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.indexed import IndexFrontier, IndexPolicy
from coordinator.frontier.pooled import NOTHING, Pooled, contribution
from coordinator.frontier.staircase import UNKNOWN


def direction(number: int, prior: float | None = None, **fields: object) -> DirectionRow:
    prior_micro = None if prior is None else round(prior * MICRO)
    return DirectionRow(
        f"d{number}", "agent", f"topic {number}", number, 0, prior_micro=prior_micro, **fields
    )


def full_scan(policy: IndexPolicy, rows: Sequence[DirectionRow]) -> list[str]:
    """The order by definition: index, mean, fewer visits, older; everything computed afresh."""
    pooled, known = Pooled(), {row.id for row in rows}
    for row in rows:
        pooled.opened += 1
        pooled.replace(NOTHING, contribution(row), row.parent in known)
        pooled.in_flight += row.in_flight
    indexes, dispersion = policy.at(pooled), pooled.dispersion
    ranking: list[tuple[float, float, int, int, str]] = []
    for row in rows:
        if not row.open:
            continue
        count, total, group, *_ = policy.estimate(row, row.parent in known, dispersion, UNKNOWN)
        mean = total / (MICRO * (count or 1))
        score = indexes.of(group, count, mean, row.in_flight, -math.inf)
        ranking.append((-score, -mean, count + row.in_flight, row.opened, row.id))
    return [entry[-1] for entry in sorted(ranking)]


class History:
    """A random history of one frontier: openings, visits, results in any order, cancellations, retirements.

    Rewards are "coarse", which makes ties; "free", anywhere in [0, 1]; "generous", above what priors promise;
    or "depleting".
    """

    def __init__(
        self, frontier: IndexFrontier, rng: random.Random, rewards: str, openings: float = 0.06
    ) -> None:
        self.frontier = frontier
        self.rng = rng
        self.rewards = rewards
        self.openings = 0.01 if rewards == "depleting" else openings
        self.rows: list[DirectionRow] = []
        self.tickets: list[tuple[DirectionRow, int]] = []

    def reward(self, row: DirectionRow, visit: int) -> int:
        match self.rewards:
            case "coarse":
                return self.rng.choice((0, MICRO // 4, MICRO // 2, MICRO))
            case "free":
                return self.rng.randrange(MICRO)
            case "generous":
                return MICRO - self.rng.randrange(MICRO // 3)
            case _:
                level = 300_000 + row.opened * 137_911 % 600_000
                spread = 1.0 if row.opened % 4 == 0 else 0.2
                level = round(level * (1.0 - spread * self.rng.random()))
                return level if visit < 8 + row.opened % 7 else level // 3

    def open(self) -> None:
        prior = self.rng.choice((None, 0.25, 0.5, 0.75)) if self.rewards == "coarse" else self.rng.random()
        parent = self.rng.choice(self.rows).id if self.rows and self.rng.random() < 0.6 else None
        limit = self.rng.choice((None, None, None, 12))
        row = direction(len(self.rows) + 1, prior, parent=parent, max_visits=limit)
        self.rows.append(row)
        self.frontier.opened(row)

    def visit(self, row: DirectionRow) -> None:
        self.tickets.append((row, start(row)))
        self.frontier.changed(row)

    def settle(self) -> None:
        row, visit = self.tickets.pop(self.rng.randrange(len(self.tickets)))
        if self.rng.random() < 0.1:
            expire(row)
        else:
            tell(row, visit, self.reward(row, visit))
        self.frontier.changed(row)

    def step(self, ranking: list[str]) -> None:
        """One operation; the ranking is the frontier's present one."""
        draw = self.rng.random()
        if draw < self.openings or not self.rows:
            self.open()
        elif draw < 1.1 * self.openings and ranking:
            row = self.find(self.rng.choice(ranking))
            row.retired = "not worth a visit"
            self.frontier.changed(row)
        elif (draw < 0.5 or not self.tickets) and ranking:
            row = self.find(ranking[0] if self.rng.random() < 0.7 else self.rng.choice(ranking))
            self.visit(row)
        elif self.tickets:
            self.settle()

    def find(self, key: str) -> DirectionRow:
        return self.rows[int(key[1:]) - 1]
