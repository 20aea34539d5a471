"""The benchmark's page in the documentation: tables and plots, all from one command."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.frontier import beside, grid, settings, shares, stopping
from bench.frontier.charts import chart
from bench.frontier.measure import Cell, measured, table
from bench.frontier.record import Record
from bench.frontier.resampling import interval, mean
from bench.frontier.settings import Setting
from coordinator.frontier.policies import DEFAULT_POLICY

PLOTTED_IN = ("T2", "flat K=50")


@dataclass(frozen=True, slots=True)
class Effort:
    """Seeds for each part of the page."""

    gates: int
    """Of trees; flat worlds, which take long, get half of them."""
    shares: int
    compared: int
    stopping: int

    @property
    def of_gates(self) -> tuple[int, int]:
        """Of trees and of flat worlds."""
        return self.gates, max(self.gates // 2, 1)

    @classmethod
    def of(cls, seeds: int, compared: int, shares: int | None = None) -> "Effort":
        """Shares are judged on three fifths of the seeds unless it is said otherwise, on 4 at least."""
        return cls(seeds, max(3 * seeds // 5 if shares is None else shares, 4), compared, max(seeds // 10, 1))


def write_page(path: Path, effort: Effort, record: Record) -> bool:
    """Writes the page and its plots; says whether every gate was met."""
    trees, flats = effort.of_gates
    gates = settings.gates()
    gate_cells = [
        *_cells([gate for gate in gates if gate.measure == "reward"], trees, record),
        *_cells([gate for gate in gates if gate.measure == "regret"], flats, record),
    ]
    compared = settings.compared()
    plots = {
        f"{path.stem}-{setting.measure}.svg": _plot(setting, effort.compared, record)
        for setting in compared
        if setting.name in PLOTTED_IN
    }
    for name, plot in plots.items():
        path.with_name(name).write_text(plot, encoding="utf-8")
    parts = {
        "gates": table(gate_cells),
        "ratios": ratios(gates, flats, record),
        "flat": grid.table(flats, record),
        "stopping": stopping.table(
            [
                stopping.measured(name, world, effort.stopping, record)
                for name, world in stopping.worlds().items()
            ]
        ),
        "beside": beside.table(compared, effort.compared, record),
        "leads": beside.leads(compared, effort.compared, record),
        "images": "\n\n".join(f"![{name}]({name})" for name in plots),
        "listed": shares.section(
            [one for one in settings.listed() if one.measure == "reward"], effort.shares, record
        ),
        "held_out": shares.section(settings.held_out(), effort.shares, record),
        "explained": stopping.explained(effort.stopping),
    }
    path.write_text(_page(parts, effort, record), encoding="utf-8")
    return all(cell.met is not False for cell in gate_cells)


def _cells(chosen: Sequence[Setting], seeds: int, record: Record) -> list[Cell]:
    cells: list[Cell] = []
    for setting in chosen:
        cells.append(measured(setting, DEFAULT_POLICY, seeds, record))
        print(f"{setting.name} W={setting.workers}: {cells[-1].value:.3f}", file=sys.stderr)
    return cells


def ratios(gates: Sequence[Setting], seeds: int, record: Record) -> str:
    """What many workers, and visits that are lost, cost of regret."""
    by_name = {(gate.name, gate.workers): gate for gate in gates}
    lines = ["| regret of the default | ratio | 90 % interval | gate |", "|---|---|---|---|"]
    for title, name, workers, base, gate in (
        ("flat K=50, 64 workers over 1", "flat K=50", 64, ("flat K=50", 1), 1.25),
        ("flat K=50, 10 % lost over none", "flat K=50, 10% lost", 16, ("flat K=50", 16), 1.10),
    ):
        if (name, workers) not in by_name or base not in by_name:
            continue
        over, under = (
            beside.values(by_name[key], DEFAULT_POLICY, seeds, record) for key in ((name, workers), base)
        )
        value = mean(over) / mean(under)
        low, high = interval(
            seeds,
            lambda drawn, a=over, b=under: (
                mean([a[seed] for seed in drawn]) / mean([b[seed] for seed in drawn])
            ),
        )
        met = "met" if value <= gate else "MISSED"
        lines.append(f"| {title} | {value:.2f} | {low:.2f} to {high:.2f} | {gate:g} {met} |")
    return "\n".join(lines)


def _plot(setting: Setting, seeds: int, record: Record) -> str:
    up = "regret" if setting.measure == "regret" else "mean reward so far"
    return chart(
        f"{setting.name}, {setting.workers} workers",
        "visits",
        up,
        list(beside.curves(setting, seeds, record)),
    )


def _page(parts: Mapping[str, str], effort: Effort, record: Record) -> str:
    trees, flats = effort.of_gates
    played_by = record.origin
    return f"""# The frontier's benchmark

Written by `python -m bench.frontier --page docs/frontier-benchmark.md --seeds {effort.gates} --beside
{effort.compared} --shares {effort.shares}`; the same numbers come out each time. [The frontier](frontier.md)
explains the policies. All games were played by {played_by.interpreter} with the policies and worlds of commit
`{played_by.commit}` (digest of these files: `{played_by.code}`).

A cell is the mean latent reward of the visits made, in flat worlds the regret; after ± its standard error
over seeds. W is the number of workers. Visits take exponential times: results come late and out of order.
All policies play the same worlds seed by seed. Intervals are bootstrapped: seeds are drawn anew, 400 times.

## Gates of the default policy

Seeds 0 to {trees - 1} of trees, 0 to {flats - 1} of flat worlds.

{parts["gates"]}

{parts["ratios"]}

## Flat worlds

{grid.explained(flats)}

{parts["flat"]}

## Policies side by side

16 workers, seeds 0 to {effort.compared - 1}; the best of a column in bold. T1 to T5 are trees of directions;
T1 and T4 do not deplete, nor do the flat worlds.

{parts["beside"]}

Seed by seed against the policy that came out best of all others here, which luck has helped:

{parts["leads"]}

{parts["images"]}

A band is the 90 % interval of the mean.

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
