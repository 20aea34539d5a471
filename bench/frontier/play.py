"""Plays a policy in a world with parallel workers and exponential delays."""

import heapq
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from bench.frontier.worlds import World
from blackboard.events import MICRO
from blackboard.rewards import expire, start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.contract import Frontier, FrontierFactory
from coordinator.frontier.stopping import StoppingRule, retirement


@dataclass(slots=True)
class Score:
    """Mean latent reward of the visits made, and regret against the best latent mean at the outset."""

    mean: float
    regret: float
    directions: int


class Pending(NamedTuple):
    """A visit under way; `lost` ones expire instead of telling."""

    ends: float
    asked: int
    direction: str
    visit: int
    lost: bool


class Play:
    """One seeded game. The world draws from one stream of numbers, delays and losses from another.

    A `rule` retires directions; `retired` then holds their latent means when they were.
    """

    def __init__(
        self,
        world: World,
        factory: FrontierFactory,
        workers: int,
        seed: int,
        lost: float = 0.0,
        rule: StoppingRule | None = None,
    ) -> None:
        self.world = world
        self.workers = workers
        self.seed = seed
        self.lost = lost
        self.rule = rule
        self.rng = Random(f"world {seed}")
        self.delays = Random(f"delays {seed}")
        self.rows: dict[str, DirectionRow] = {}
        self.latent: dict[str, float] = {}
        self.told: Counter[str] = Counter()
        self.frontier: Frontier = factory([])
        self.chosen: list[float] = []
        self.retired: list[float] = []
        self.asked = 0
        self.now = 0.0
        self.pending: list[Pending] = []
        for root in world.roots(self.rng):
            self.open(root.mean, None, root.prior)
        self.best = max(self.latent.values())

    def run(self) -> Score:
        while len(self.chosen) < self.world.visits:
            while len(self.pending) < min(self.workers, self.world.visits - len(self.chosen)):
                if not self.ask():
                    break
            if not self.pending:
                break
            self.settle(heapq.heappop(self.pending))
        total = sum(self.chosen)
        visits = max(len(self.chosen), 1)
        return Score(total / visits, self.best * visits - total, len(self.rows))

    def open(self, mean: float, parent: str | None, prior: float | None) -> None:
        number = len(self.rows) + 1
        prior_micro = None if prior is None else round(prior * MICRO)
        row = DirectionRow(f"d{number}", "", "", number, 0, parent=parent, prior_micro=prior_micro)
        self.rows[row.id] = row
        self.latent[row.id] = mean
        self.frontier.opened(row)

    def ask(self) -> bool:
        choice = self.frontier.choose(self.asked, self.seed)
        if choice is None:
            return False
        row = self.rows[choice.chosen.direction]
        visit = start(row)
        self.frontier.changed(row)
        lost = self.lost > 0 and self.delays.random() < self.lost
        ends = self.now + self.delays.expovariate(1.0)
        heapq.heappush(self.pending, Pending(ends, self.asked, row.id, visit, lost))
        self.asked += 1
        return True

    def settle(self, ended: Pending) -> None:
        self.now = ended.ends
        row = self.rows[ended.direction]
        if ended.lost:
            expire(row)
            self.frontier.changed(row)
            return
        result = self.world.visit(self.latent[row.id], self.told[row.id], self.rng)
        self.told[row.id] += 1
        self.chosen.append(result.latent)
        tell(row, ended.visit, round(result.reward * MICRO))
        self.frontier.changed(row)
        for mean in result.children:
            self.open(mean, row.id, result.reward)
        if self.rule and (reason := retirement(row, self.rule, self.frontier.pooled)):
            row.retired = reason
            self.retired.append(self.world.visit(self.latent[row.id], self.told[row.id], Random(0)).latent)
            self.frontier.changed(row)
