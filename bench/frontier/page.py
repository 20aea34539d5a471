"""The benchmark's page in the documentation: tables and plots, all from one command."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from bench.frontier import settings, shares, stopping
from bench.frontier.charts import averaged, chart
from bench.frontier.measure import Cell, measured, plays, table
from bench.frontier.record import Record
from bench.frontier.settings import Setting
from bench.frontier.worlds import Flat
from coordinator.frontier.divergence import kl
from coordinator.frontier.policies import DEFAULT_POLICY

COMPARED = (
    DEFAULT_POLICY,
    "greedy",
    "thompson",
    "kl-ucb",
    "ucb1",
    "uniform",
    "wu-uct",
    "progressive-widening",
    "puct",
)
BY_DEFAULT = (DEFAULT_POLICY,)
PLOTTED = (DEFAULT_POLICY, "greedy", "thompson", "kl-ucb", "ucb1", "uniform")
PLOTTED_IN = ("T2", "flat K=50")
POINTS = 50


@dataclass(frozen=True, slots=True)
class Effort:
    """Seeds for each part of the page."""

    gates: int
    """Of trees; flat worlds, which take long, get two fifths of them."""
    shares: int
    compared: int
    stopping: int

    @property
    def of_gates(self) -> tuple[int, int]:
        """Of trees and of flat worlds."""
        return self.gates, max(2 * self.gates // 5, 1)

    @classmethod
    def of(cls, seeds: int) -> "Effort":
        return cls(seeds, max(3 * seeds // 5, 4), max(seeds // 20, 1), max(seeds // 16, 1))


def write_page(path: Path, effort: Effort, record: Record) -> bool:
    """Writes the page and its plots; says whether every gate was met."""
    trees, flats = effort.of_gates
    gate_cells = [
        *_cells([gate for gate in settings.gates() if gate.measure == "reward"], BY_DEFAULT, trees, record),
        *_cells([gate for gate in settings.gates() if gate.measure == "regret"], BY_DEFAULT, flats, record),
    ]
    beside = _cells(settings.compared(), COMPARED, effort.compared, record)
    plots = {
        f"{path.stem}-{setting.measure}.svg": _plot(setting, effort.compared)
        for setting in settings.compared()
        if setting.name in PLOTTED_IN
    }
    for name, plot in plots.items():
        path.with_name(name).write_text(plot, encoding="utf-8")
    parts = {
        "gates": table(gate_cells),
        "beside": table(beside),
        "references": references(effort.compared, record),
        "images": "\n\n".join(f"![{name}]({name})" for name in plots),
        "listed": shares.section(
            [one for one in settings.listed() if one.measure == "reward"], effort.shares, record
        ),
        "held_out": shares.section(settings.held_out(), effort.shares, record),
        "explained": stopping.explained(effort.stopping),
        "stopping": stopping.table(
            [stopping.measured(name, world, effort.stopping) for name, world in stopping.worlds().items()]
        ),
    }
    path.write_text(_page(parts, effort), encoding="utf-8")
    return all(cell.met is not False for cell in gate_cells)


def _cells(chosen: Sequence[Setting], policies: Sequence[str], seeds: int, record: Record) -> list[Cell]:
    cells: list[Cell] = []
    for setting in chosen:
        for policy in policies:
            cells.append(measured(setting, policy, seeds, record))
            print(f"{setting.name} W={setting.workers} {policy}: {cells[-1].value:.3f}", file=sys.stderr)
    return cells


def _plot(setting: Setting, seeds: int) -> str:
    """Mean reward so far, or regret so far, over the visits made."""
    up = "regret" if setting.measure == "regret" else "mean reward so far"
    title = f"{setting.name}, {setting.workers} workers"
    runs = {policy: running(setting, policy, seeds) for policy in PLOTTED}
    return chart(title, "visits", up, averaged(runs, max(setting.world.visits // POINTS, 1)))


def running(setting: Setting, policy: str, seeds: int) -> list[list[float]]:
    """By seed, what the measure is after each visit."""
    found: list[list[float]] = []
    for play in plays(setting, policy, seeds):
        play.run()
        sums = enumerate(accumulate(play.chosen), 1)
        if setting.measure == "regret":
            found.append([play.best * made - total for made, total in sums])
        else:
            found.append([total / made for made, total in sums])
    return found


def lai_robbins(world: Flat, seeds: int) -> float:
    """The regret that no good policy can stay below in the long run, for coins, at the world's visits.

    ln T times the sum over arms of gap / kl(mean, best) (Lai and Robbins, 1985), on average over seeds.
    """
    total = 0.0
    for seed in range(seeds):
        means = [root.mean for root in world.roots(Random(f"world {seed}"))]
        best = max(means)
        total += sum((best - mean) / kl(mean, best) for mean in means if mean < best)
    return math.log(world.visits) * total / seeds


def _page(parts: Mapping[str, str], effort: Effort) -> str:
    trees, flats = effort.of_gates
    return f"""# The frontier's benchmark

Written by `python -m bench.frontier --page docs/frontier-benchmark.md --seeds {effort.gates}`;
the same numbers come out each time. [The frontier](frontier.md) explains the policies.

A cell is the mean latent reward of the visits made, in flat worlds the regret; after ± its standard error
over seeds. W is the number of workers. Visits take exponential times: results come late and out of order.

## Gates of the default policy

Seeds 0 to {trees - 1} of trees, 0 to {flats - 1} of flat worlds.

{parts["gates"]}

## Policies side by side

Seeds 0 to {effort.compared - 1}. T1 to T5 are trees of directions; T1 and T4 do not deplete.

{parts["beside"]}

{parts["references"]}

{parts["images"]}

A band is one standard error to each side.

## Share of the best policy

{shares.explained(effort.shares)}

### Listed settings

All that are measured by reward, with few and many workers; flat worlds are judged by regret, above.

{parts["listed"]}

### Held-out settings

Drawn at random from wide ranges (`bench/frontier/settings.py`) before the default was last changed; no choice
about a policy was made on them. The *short* ones are runs of a few dozen visits by many workers, whose first
guesses may mislead.

{parts["held_out"]}

## Stopping

{parts["explained"]}

{parts["stopping"]}
"""


def references(seeds: int, record: Record) -> str:
    """What the flat worlds' regrets are to be seen beside."""
    lines = [
        "Beside the flat worlds, for coins:",
        "",
        "| | sequential UCB1 | Lai and Robbins |",
        "|---|---|---|",
    ]
    for setting in settings.compared():
        if isinstance(setting.world, Flat) and setting.measure == "regret" and not setting.world.graded:
            alone = Setting(setting.name, setting.world, 1, "regret")
            ucb1 = measured(alone, "ucb1", seeds, record).value
            lines.append(f"| {setting.name} | {ucb1:.0f} | {lai_robbins(setting.world, seeds):.0f} |")
    return "\n".join(lines)
