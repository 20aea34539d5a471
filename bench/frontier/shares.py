"""How much of the best policy's reward the default reaches, and how sure that is.

The largest of many noisy means is larger than the mean of whatever is best: who is judged against it looks
worse than it is. So the best policy is picked on half of the seeds and judged on the other half, and the
other way round. All policies play the same worlds, seed by seed, and only differences count; a policy that
played fewer seeds than the default is compared on those.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bench.frontier.record import Record
from bench.frontier.settings import Setting
from bench.frontier.worlds import TREES
from coordinator.frontier.policies import DEFAULT_POLICY

RESAMPLES = 200
JUDGED = (DEFAULT_POLICY, "greedy", "kl-ucb")
"""Policies whose shares are shown: they play all seeds."""
SLOW = "thompson"
"""A rival whose choices scan all directions: it plays short settings only."""
RIVALS = ("kl-ucb-plus-plus", "ucb1", "progressive-widening", SLOW)
ENOUGH = 0.93
"""A share that the default is to reach everywhere."""
SHORT = 100
"""Visits up to which all policies play all seeds."""
LONG = 1_000
"""Visits beyond which a setting is played with a fifth of the seeds."""

_TYPICAL = Setting("typical", TREES["T1"], 16, "reward")

Rewards = Mapping[str, Sequence[float]]
"""By policy, mean latent rewards by seed, from 0."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of the best policy's reward, in one setting."""

    setting: str
    workers: int
    reward: float
    """Mean latent reward of the policy, whatever the measure of the setting."""
    value: float
    error: float
    """Standard error: of the shares of resampled seeds, beside the policies that were picked."""
    best: str
    """The policy with the highest mean on all seeds."""


def seeds_of(setting: Setting, policy: str, seeds: int) -> int:
    """How many seeds a policy plays: fewer in long settings, and of rivals; at least 4, or none."""
    if setting.world.visits <= SHORT:
        return seeds
    if policy == SLOW:
        return 0
    long = setting.world.visits > LONG
    share = 1.0 if policy in JUDGED else 0.4
    return max(4, round(seeds * share * (0.2 if long else 1.0)))


def shares(settings: Iterable[Setting], policy: str, seeds: int, record: Record) -> list[Share]:
    """Setting by setting."""
    return [share(setting, played(setting, seeds, record), policy) for setting in settings]


def played(setting: Setting, seeds: int, record: Record) -> Rewards:
    return {
        policy: [
            record.result(setting, policy, seed).mean for seed in range(seeds_of(setting, policy, seeds))
        ]
        for policy in (*JUDGED, *RIVALS)
        if seeds_of(setting, policy, seeds)
    }


def share(setting: Setting, rewards: Rewards, policy: str) -> Share:
    """The share of a policy that played at least as many seeds as any other, at least 4."""
    rng = Random(f"resamples {setting.name}")
    halves = range(0, len(rewards[policy]), 2), range(1, len(rewards[policy]), 2)
    picked = [_best(rewards, policy, half) for half in halves]
    judged = list(zip(picked, reversed(halves), strict=True))
    resampled = [
        _mean([_of(rewards, policy, best, half, rng) for best, half in judged]) for _ in range(RESAMPLES)
    ]
    return Share(
        setting=setting.name,
        workers=setting.workers,
        reward=_mean(rewards[policy]),
        value=_mean([_of(rewards, policy, best, half) for best, half in judged]),
        error=_deviation(resampled),
        best=_best(rewards, policy, range(len(rewards[policy]))),
    )


def worst(found: Sequence[Share]) -> tuple[Share, float, float]:
    """The least share, and the ends of a 90 % interval of the least of all.

    The shares are drawn anew with their standard errors around what was measured. The least of many
    noisy shares is smaller than the share of whatever is least: so the interval may lie below the value.
    """
    rng = Random("worst")
    least = sorted(min(rng.gauss(one.value, one.error) for one in found) for _ in range(1_000))
    return min(found, key=lambda one: one.value), least[49], least[949]


def _best(rewards: Rewards, policy: str, seeds: Sequence[int]) -> str:
    return max(rewards, key=lambda other: _mean(_ahead(rewards, other, policy, seeds) or [-math.inf]))


def _of(rewards: Rewards, policy: str, best: str, seeds: Sequence[int], rng: Random | None = None) -> float:
    """The share on these seeds, or on as many drawn from them."""
    own = [rewards[policy][seed] for seed in seeds]
    ahead = _ahead(rewards, best, policy, seeds)
    if rng is not None:
        own, ahead = rng.choices(own, k=len(own)), rng.choices(ahead, k=len(ahead))
    return _mean(own) / (_mean(own) + _mean(ahead))


def _ahead(rewards: Rewards, other: str, policy: str, seeds: Sequence[int]) -> list[float]:
    """By how much the other is ahead of the policy, on each of the seeds that it played."""
    own, others = rewards[policy], rewards[other]
    return [others[seed] - own[seed] for seed in seeds if seed < len(others)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def section(settings: Sequence[Setting], seeds: int, record: Record) -> str:
    """The default's share in each setting, the least first, and the least shares of all policies judged."""
    own = sorted(shares(settings, DEFAULT_POLICY, seeds, record), key=lambda one: one.value)
    lines = ["| setting | W | reward | share of the best | best |", "|---|---|---|---|---|"]
    for one in own:
        shown = f"{one.value:.3f} ± {one.error:.3f}"
        lines.append(f"| {one.setting} | {one.workers} | {one.reward:.3f} | {shown} | {one.best} |")
    lines += ["", "| policy | worst share | 90 % interval | where | mean share |", "|---|---|---|---|---|"]
    for policy in JUDGED:
        found = own if policy == DEFAULT_POLICY else shares(settings, policy, seeds, record)
        least, low, high = worst(found)
        lines.append(
            f"| {policy} | {least.value:.3f} ± {least.error:.3f} | {low:.3f} to {high:.3f} "
            f"| {least.setting}, W={least.workers} | {_mean([one.value for one in found]):.3f} |"
        )
    return "\n".join([*lines, "", weakness(own)])


def weakness(found: Sequence[Share]) -> str:
    """In words, where the default is at its worst, and how often it falls short."""
    least = min(found, key=lambda one: one.value)
    below = sum(one.value < ENOUGH for one in found)
    often = "nowhere" if not below else f"in {below} of {len(found)} settings"
    where = f"*{least.setting}* with {least.workers} workers"
    return (
        f"The share is below {ENOUGH} {often}. At its worst, in {where}, "
        f"the default earns {least.reward:.3f} a visit and {least.best} is best."
    )


def explained(seeds: int) -> str:
    """The sentences above the tables."""
    most, rivals = (seeds_of(_TYPICAL, policy, seeds) for policy in (JUDGED[0], RIVALS[0]))
    return f"""Mean latent reward over that of the best of {len(JUDGED) + len(RIVALS)} policies. All play the
same seeds: {", ".join(JUDGED)} {most}; {", ".join(RIVALS[:-1])} {rivals}.
In settings of up to {SHORT} visits all play {most}, {SLOW} too; in those of more than {LONG:,} it is a fifth
of that, at least 4. The largest of many noisy means is too large; so the best policy is picked on half of the
seeds and judged on the other half, and the other way round. A share may then exceed 1. After ± its standard
error, from {RESAMPLES} resamplings of the seeds. The interval is that of the least of all shares drawn anew
with these errors: luck makes it lie too low."""
