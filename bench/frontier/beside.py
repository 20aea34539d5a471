"""Policies side by side: seed by seed in the same worlds."""

from collections.abc import Iterable, Sequence

from bench.frontier.charts import Curve, averaged
from bench.frontier.measure import standard_error
from bench.frontier.record import Record, every
from bench.frontier.resampling import interval_of_mean, mean
from bench.frontier.settings import Setting
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES

COMPARED = tuple(policy for policy in POLICIES if not policy.endswith("-per-cost"))
"""All but what weighs costs: a visit costs the same in all of these worlds."""
PLOTTED = (DEFAULT_POLICY, "greedy", "thompson", "kl-ucb", "ucb1", "uniform", "puct")


def values(setting: Setting, policy: str, seeds: int, record: Record) -> list[float]:
    """The setting's measure, by seed."""
    results = [record.result(setting, policy, seed) for seed in range(seeds)]
    return [result.mean if setting.measure == "reward" else result.regret for result in results]


def table(settings: Sequence[Setting], seeds: int, record: Record) -> str:
    """Policies down, settings across; the best of each setting in bold."""
    columns: list[list[str]] = []
    for setting in settings:
        found = {policy: values(setting, policy, seeds, record) for policy in COMPARED}
        best, digits = best_of(setting, found), 3 if setting.measure == "reward" else 0
        shown = {
            policy: f"{mean(one):.{digits}f} ± {standard_error(one):.{digits}f}"
            for policy, one in found.items()
        }
        shown[best] = f"**{shown[best]}**"
        columns.append([f"{setting.name} {setting.measure}", "---", *shown.values()])
    heads = ["policy", "---", *COMPARED]
    return "\n".join("| " + " | ".join(line) + " |" for line in zip(heads, *columns, strict=True))


def leads(settings: Sequence[Setting], seeds: int, record: Record) -> str:
    """How far the default is ahead of the best other policy, seed by seed."""
    lines = ["| setting | best other | the default's lead | 90 % interval |", "|---|---|---|---|"]
    for setting in settings:
        found = {policy: values(setting, policy, seeds, record) for policy in COMPARED}
        own = found.pop(DEFAULT_POLICY)
        best = best_of(setting, found)
        sign, digits = (1.0, 3) if setting.measure == "reward" else (-1.0, 0)
        ahead = [sign * (mine - other) for mine, other in zip(own, found[best], strict=True)]
        low, high = interval_of_mean(ahead)
        lines.append(
            f"| {setting.name} {setting.measure} | {best} | {mean(ahead):+.{digits}f} "
            f"| {low:+.{digits}f} to {high:+.{digits}f} |"
        )
    return "\n".join(lines)


def best_of(setting: Setting, found: dict[str, list[float]]) -> str:
    """The policy with the highest mean reward, or the least mean regret."""
    sign = 1.0 if setting.measure == "reward" else -1.0
    return max(found, key=lambda policy: sign * mean(found[policy]))


def curves(setting: Setting, seeds: int, record: Record) -> Iterable[Curve]:
    """Mean reward so far, or regret so far, over the visits made."""
    step = every(setting.world.visits)
    for policy in PLOTTED:
        runs: list[list[float]] = []
        for seed in range(seeds):
            result = record.result(setting, policy, seed)
            sums = [(number * step, total) for number, total in enumerate(result.sums, 1)]
            if setting.measure == "regret":
                runs.append([result.best * made - total for made, total in sums])
            else:
                runs.append([total / made for made, total in sums])
        yield averaged(policy, runs, step)
