"""Policies in settings: what was measured, as cells of a table."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.frontier.record import Record
from bench.frontier.settings import Setting
from coordinator.frontier.policies import DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Cell:
    setting: str
    policy: str
    workers: int
    measure: str
    seeds: int
    value: float
    error: float
    gate: float | None
    met: bool | None
    seconds: float
    """Wall time; left out of pages, which are to be the same each time."""


def measured(setting: Setting, policy: str, seeds: int, record: Record) -> Cell:
    """One policy in one setting, over the seeds 0, 1, 2, …"""
    began = time.perf_counter()
    results = [record.result(setting, policy, seed) for seed in range(seeds)]
    values = [result.mean if setting.measure == "reward" else result.regret for result in results]
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
        gate=setting.gate,
        met=met,
        seconds=time.perf_counter() - began,
    )


def standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


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
    return "\n".join(lines)
