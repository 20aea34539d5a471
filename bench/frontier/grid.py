"""Flat worlds of each size and kind, for one worker and for many: regret beside what is known of it."""

import math
from random import Random

from bench.frontier.measure import Cell, measured
from bench.frontier.record import Record
from bench.frontier.settings import Setting
from bench.frontier.worlds import Flat
from coordinator.frontier.divergence import kl
from coordinator.frontier.policies import DEFAULT_POLICY

ARMS = (10, 50, 200)
WORKERS = (1, 4, 16, 64)
SEQUENTIAL = "ucb1"
"""The policy that one worker alone is shown with, for comparison."""


def worlds() -> dict[str, Flat]:
    """By the names that `settings` has for them: a game that was played for a gate counts here too."""
    return {
        f"flat K={arms}{' graded' if graded else ''}": Flat(arms, graded)
        for graded in (False, True)
        for arms in ARMS
    }


def table(seeds: int, record: Record) -> str:
    """Worlds down, workers across."""
    heads = ["regret of the default", *(f"W={workers}" for workers in WORKERS)]
    heads += [f"{SEQUENTIAL}, W=1", "Lai and Robbins"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, world in worlds().items():
        cells = [
            measured(Setting(name, world, workers, "regret"), DEFAULT_POLICY, seeds, record)
            for workers in WORKERS
        ]
        cells.append(measured(Setting(name, world, 1, "regret"), SEQUENTIAL, seeds, record))
        bound = "" if world.graded else f"{lai_robbins(world, seeds):.0f}"
        lines.append(f"| {name} | {' | '.join(map(_shown, cells))} | {bound} |")
    return "\n".join(lines)


def lai_robbins(world: Flat, seeds: int) -> float:
    """The regret that no policy which is good in all worlds stays below in the long run, for coins, at the
    world's visits.

    ln T times the sum over arms of gap / kl(mean, best) (Lai and Robbins, 1985), on average over seeds.
    """
    total = 0.0
    for seed in range(seeds):
        means = [root.mean for root in world.roots(Random(f"world {seed}"))]
        best = max(means)
        total += sum((best - mean) / kl(mean, best) for mean in means if mean < best)
    return math.log(world.visits) * total / seeds


def explained(seeds: int) -> str:
    """The sentences above the table."""
    return f"""Directions that neither deplete nor spawn: coins and, *graded*, Beta rewards of the same means;
5,000 visits, seeds 0 to {seeds - 1}. Beside the default with W workers stand {SEQUENTIAL} with one, which
never waits for a result, and what no policy that is good in all such worlds can stay below in the long run.
5,000 visits are not that long: a policy may come out below, the more easily the more arms there are, and the
default, which explores less than theory asks for, does. The bound is that for coins; graded rewards tell
more, and theirs (Burnetas and Katehakis, 1996) is lower."""


def _shown(cell: Cell) -> str:
    return f"{cell.value:.0f} ± {cell.error:.0f}"
