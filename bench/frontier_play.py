"""Plays a policy in a world with parallel workers and exponential delays."""

import heapq
from dataclasses import dataclass
from random import Random

from bench.frontier_worlds import World
from blackboard.events import MICRO
from blackboard.rewards import expire, start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.contract import Frontier, FrontierFactory


@dataclass(slots=True)
class Score:
    """Mean latent reward of the visits made, and regret against the best latent mean at the outset."""

    mean: float
    regret: float
    directions: int


class Play:
    """One seeded game. The world draws from its own stream of numbers, the delays from another."""

    def __init__(self, world: World, factory: FrontierFactory, workers: int, seed: int, lost: float = 0.0):
        self.world = world
        self.workers = workers
        self.seed = seed
        self.lost = lost
        self.rng = Random(f"world {seed}")
        self.delays = Random(f"delays {seed}")
        self.rows: list[DirectionRow] = []
        self.latent: dict[str, float] = {}
        self.frontier: Frontier = factory([])
        self.chosen: list[float] = []
        for mean in world.roots(self.rng):
            self.open(mean, None, None)
        self.best = max(self.latent.values())

    def open(self, mean: float, parent: DirectionRow | None, prior: float | None) -> None:
        row = DirectionRow(
            id=f"d{len(self.rows)}",
            agent="a",
            topic="",
            opened=len(self.rows) + 1,
            opened_ms=0,
            parent=parent.id if parent else None,
            prior_micro=None if prior is None else round(prior * MICRO),
        )
        self.rows.append(row)
        self.latent[row.id] = mean
        self.frontier.opened(row)

    def run(self) -> Score:
        by_id = {row.id: row for row in self.rows}
        pending: list[tuple[float, int, str, int, bool]] = []
        now, asked, told = 0.0, 0, 0
        effective: dict[str, int] = {}
        while told < self.world.visits:
            while len(pending) < self.workers and told + len(pending) < self.world.visits:
                choice = self.frontier.choose(asked, self.seed)
                if choice is None:
                    break
                row = by_id[choice.chosen.direction]
                visit = start(row)
                self.frontier.changed(row)
                lost = self.lost > 0 and self.delays.random() < self.lost
                delay = self.delays.expovariate(1.0)
                heapq.heappush(pending, (now + delay, asked, row.id, visit, lost))
                asked += 1
            now, _, key, visit, lost = heapq.heappop(pending)
            row = by_id[key]
            if lost:
                expire(row)
                self.frontier.changed(row)
                continue
            told += 1
            earlier = effective.get(key, 0)
            effective[key] = earlier + 1
            result = self.world.visit(self.latent[key], earlier, self.rng)
            self.chosen.append(result.latent)
            tell(row, visit, round(result.reward * MICRO))
            self.frontier.changed(row)
            for mean in result.children:
                self.open(mean, row, result.reward)
                by_id[self.rows[-1].id] = self.rows[-1]
        total = sum(self.chosen)
        return Score(total / told, self.best * told - total, len(self.rows))
