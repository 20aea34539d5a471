"""The frontier's benchmark: policies side by side in simulated worlds, and the gates of the default.

    python -m bench.frontier                       the gates, 4 seeds
    python -m bench.frontier --set all --seeds 40  every setting, every policy; some hours
    python -m bench.frontier --page docs/frontier-benchmark.md

A cell is the mean latent reward of the visits made, in flat worlds the regret; after ± its standard
error over seeds. Fixed before any figure was looked at: worlds, seeds (0, 1, 2, …), visits, delays.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.frontier_play import Play, Score
from bench.frontier_worlds import TREES, Flat, Tree, World, abrupt, gradual
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    world: World
    workers: int
    measure: str
    gate: float | None = None
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Cell:
    setting: str
    policy: str
    workers: int
    measure: str
    seeds: int
    value: float
    error: float
    reward: float
    """Mean latent reward, whatever the measure."""
    gate: float | None
    met: bool | None
    seconds: float


def gates() -> list[Setting]:
    trees = {"T1": 0.90, "T2": 0.75, "T3": 0.71, "T4": 0.76, "T5": 0.47}
    flats = {10: 70.0, 50: 250.0, 200: 680.0}
    return [
        *(Setting(name, TREES[name], 16, "reward", gate) for name, gate in trees.items()),
        *(Setting(f"flat K={k}", Flat(k, graded=False), 16, "regret", gate) for k, gate in flats.items()),
        Setting("flat K=50 graded", Flat(50, graded=True), 16, "regret", 85.0),
        Setting("flat K=50", Flat(50, graded=False), 1, "regret"),
        Setting("flat K=50", Flat(50, graded=False), 64, "regret"),
        Setting("flat K=50, 10% lost", Flat(50, graded=False), 16, "regret", lost=0.1),
    ]


def listed() -> list[Setting]:
    """All that the gates are about: trees, flat worlds and depletion, at every number of workers."""
    found = [Setting(name, tree, w, "reward") for name, tree in TREES.items() for w in (4, 16, 64)]
    for k in (10, 50, 200):
        for graded in (False, True):
            name = f"flat K={k}{' graded' if graded else ''}"
            found += [Setting(name, Flat(k, graded), w, "regret") for w in (1, 4, 16, 64)]
    for drift in (abrupt, gradual):
        for graded in (False, True):
            name = f"{drift.__name__} K=50{' graded' if graded else ''}"
            found.append(Setting(name, Flat(50, graded, drift=drift), 16, "reward"))
    return found


def variants() -> list[Setting]:
    """Variants that were looked at while the default was made."""
    return [
        Setting("many roots", Tree(root_count=40, roots_in=(0.05, 0.6), ratio=0.95, drift=0.1), 16, "reward"),
        Setting("barren", Tree(fertility=(0.1, 0.15), drift=0.02, root_count=12), 16, "reward"),
        Setting("fertile", Tree(litter=6, ratio=0.8, drift=0.1, spread=0.15), 16, "reward"),
        Setting("spent at once", Tree(ratio=0.5, drift=0.05, spread=0.1), 16, "reward"),
        Setting("rising", Tree(drift=-0.02, spread=0.05, ratio=0.97), 16, "reward"),
        Setting("wild priors", Tree(ratio=0.95, drift=0.3, spread=0.4), 16, "reward"),
        Setting("binary tree", Tree(ratio=0.9, drift=0.1, spread=0.15, binary=True), 16, "reward"),
        Setting("noisy tree", Tree(ratio=0.9, drift=0.1, spread=0.15, concentration=2.0), 16, "reward"),
        Setting("clear tree", Tree(ratio=0.9, drift=0.15, spread=0.15, concentration=60.0), 16, "reward"),
        Setting("long tree", Tree(ratio=0.9, drift=0.12, spread=0.12, visits=4_000), 32, "reward"),
        Setting("flat low K=100", Flat(100, graded=False, means=(0.0, 0.2)), 16, "regret"),
        Setting(
            "flat high K=100", Flat(100, graded=True, means=(0.8, 1.0), concentration=20.0), 16, "regret"
        ),
        Setting("flat K=1000", Flat(1_000, graded=True), 16, "regret"),
        Setting("flat short", Flat(50, graded=False, visits=300), 16, "regret"),
    ]


def held_out() -> list[Setting]:
    """Settings that no choice about the default was made on: fixed, and run, when all else was settled."""
    return [
        Setting("slow decay tree", Tree(ratio=0.96, drift=0.1, spread=0.12, root_count=8), 8, "reward"),
        Setting("steep tree", Tree(ratio=0.7, drift=0.12, spread=0.2, root_count=8), 24, "reward"),
        Setting(
            "poor roots", Tree(roots_in=(0.02, 0.1), drift=0.02, spread=0.15, root_count=10), 16, "reward"
        ),
        Setting("binary steady tree", Tree(drift=0.1, spread=0.1, binary=True, root_count=8), 16, "reward"),
        Setting(
            "few children", Tree(litter=1, fertility=(0.3, 0.3), ratio=0.95, root_count=20), 16, "reward"
        ),
        Setting("short tree", Tree(ratio=0.9, drift=0.1, visits=200, root_count=8), 8, "reward"),
        Setting("wide tree", Tree(root_count=100, roots_in=(0.1, 0.9), ratio=0.9, drift=0.15), 32, "reward"),
        Setting("coins 0.3-0.7 K=30", Flat(30, graded=False, means=(0.3, 0.7)), 32, "regret"),
        Setting("graded 0-0.5 K=80", Flat(80, graded=True, means=(0.0, 0.5)), 8, "regret"),
        Setting("graded noisy K=20", Flat(20, graded=True, concentration=1.5), 16, "regret"),
        Setting("abrupt K=200", Flat(200, graded=True, drift=abrupt), 32, "reward"),
        Setting("gradual K=10", Flat(10, graded=False, drift=gradual, visits=1_500), 8, "reward"),
    ]


SETS = {
    "gates": gates,
    "listed": listed,
    "variants": variants,
    "held-out": held_out,
    "all": lambda: [*listed(), *variants(), *held_out()],
}


def measured(setting: Setting, policy: str, seeds: int) -> Cell:
    began = time.perf_counter()
    games = range(seeds)
    scores = [Play(setting.world, POLICIES[policy], setting.workers, s, setting.lost).run() for s in games]
    values = [getattr(score, "mean" if setting.measure == "reward" else "regret") for score in scores]
    value, met = sum(values) / seeds, None
    if setting.gate is not None and policy == DEFAULT_POLICY:
        met = value >= setting.gate if setting.measure == "reward" else value <= setting.gate
    return Cell(
        setting=setting.name,
        policy=policy,
        workers=setting.workers,
        measure=setting.measure,
        seeds=seeds,
        value=value,
        error=standard_error(values),
        reward=mean_reward(scores),
        gate=setting.gate,
        met=met,
        seconds=time.perf_counter() - began,
    )


def mean_reward(scores: Sequence[Score]) -> float:
    return sum(score.mean for score in scores) / len(scores)


def standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def shares(cells: Iterable[Cell]) -> Mapping[str, tuple[float, str]]:
    """For each policy its least share of the best policy's reward, and the setting where that is."""
    by_setting: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        by_setting.setdefault((cell.setting, cell.workers), []).append(cell)
    worst: dict[str, tuple[float, str]] = {}
    for (name, workers), row in by_setting.items():
        best = max(cell.reward for cell in row)
        for cell in row:
            share = (cell.reward / best, f"{name}, W={workers}")
            worst[cell.policy] = min(worst.get(cell.policy, share), share)
    return worst


def table(cells: Sequence[Cell]) -> str:
    """Settings down, policies across, in Markdown."""
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    lines = ["| setting | W | measure | " + " | ".join(policies) + " | gate |"]
    lines.append("|---" * (len(policies) + 4) + "|")
    keys = dict.fromkeys((cell.setting, cell.workers) for cell in cells)
    for name, workers in keys:
        row = {cell.policy: cell for cell in cells if (cell.setting, cell.workers) == (name, workers)}
        some = next(iter(row.values()))
        digits = 3 if some.measure == "reward" else 0
        texts = [
            f"{row[p].value:.{digits}f} ± {row[p].error:.{digits}f}" if p in row else "" for p in policies
        ]
        mets = [cell.met for cell in row.values() if cell.met is not None]
        gate = "" if some.gate is None else f"{some.gate:g} {'met' if all(mets) else 'MISSED'}"
        lines.append(f"| {name} | {workers} | {some.measure} | " + " | ".join(texts) + f" | {gate} |")
    if len(policies) > 1:
        lines += ["", "Worst share of the best policy's reward:", ""]
        lines += [f"- {name}: {share:.3f} ({where})" for name, (share, where) in shares(cells).items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=list(SETS), default="gates")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--policies", default=DEFAULT_POLICY, help="comma-separated, or all")
    parser.add_argument("--json", action="store_true", help="one JSON list of cells instead of the table")
    parser.add_argument("--page", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    policies = list(POLICIES) if options.policies == "all" else options.policies.split(",")
    cells: list[Cell] = []
    for setting in SETS[options.set]():
        for policy in policies:
            cells.append(measured(setting, policy, options.seeds))
            last = cells[-1]
            print(
                f"{last.setting} W={last.workers} {policy}: {last.value:.3f} in {last.seconds:.1f} s",
                file=sys.stderr,
            )
    print(json.dumps([asdict(cell) for cell in cells]) if options.json else table(cells))
    if options.page:
        options.page.write_text(f"# Frontier policies, {options.seeds} seeds\n\n{table(cells)}\n")
    return 0 if all(cell.met is not False for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
