"""Policies in settings: what was measured, as cells of a table."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.frontier.play import Play, Score
from bench.frontier.settings import Setting
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES


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
    """Wall time; left out of pages, which are to be the same each time."""


def measured(setting: Setting, policy: str, seeds: int) -> Cell:
    """One policy in one setting, over the seeds 0, 1, 2, …"""
    began = time.perf_counter()
    scores = [play.run() for play in plays(setting, policy, seeds)]
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


def plays(setting: Setting, policy: str, seeds: int) -> list[Play]:
    """Games to be run."""
    return [Play(setting.world, POLICIES[policy], setting.workers, s, setting.lost) for s in range(seeds)]


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
