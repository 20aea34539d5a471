"""How much of the best policy's reward the default reaches, and how sure that is.

The largest of many noisy means is larger than the mean of whatever is best: who is judged against it looks
worse than it is. So the best policy is picked on half of the seeds and judged on the other half, and the
other way round. All policies play the same worlds, seed by seed, and only differences count; a policy that
played fewer seeds than the default is compared on those.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

RESAMPLES = 200

Rewards = Mapping[str, Sequence[float]]
"""By policy, mean latent rewards by seed, from 0."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of the best policy's reward, in one setting."""

    setting: str
    value: float
    error: float
    """Standard error: of the shares of resampled seeds."""
    best: str
    """The policy with the highest mean on all seeds."""


def share(setting: str, rewards: Rewards, policy: str) -> Share:
    """The share of a policy that played at least as many seeds as any other, at least 4."""
    rng = Random(f"resamples {setting}")
    halves = _halves(len(rewards[policy]))
    resampled = [
        _crossed(rewards, policy, [rng.choices(half, k=len(half)) for half in halves])
        for _ in range(RESAMPLES)
    ]
    everything = [seed for half in halves for seed in half]
    return Share(
        setting=setting,
        value=_crossed(rewards, policy, halves),
        error=_deviation(resampled),
        best=_best(rewards, policy, everything),
    )


def worst(found: Sequence[Share]) -> tuple[Share, float, float]:
    """The least share, and the ends of a 90 % interval of the least of all.

    The shares are drawn anew with their standard errors around what was measured. The least of many
    noisy shares is smaller than the share of whatever is least: so the interval may lie below the value.
    """
    rng = Random("worst")
    least = sorted(min(rng.gauss(one.value, one.error) for one in found) for _ in range(1_000))
    return min(found, key=lambda one: one.value), least[49], least[949]


def _halves(seeds: int) -> tuple[Sequence[int], Sequence[int]]:
    return range(0, seeds, 2), range(1, seeds, 2)


def _crossed(rewards: Rewards, policy: str, halves: Sequence[Sequence[int]]) -> float:
    shares: list[float] = []
    for picked_on, judged_on in (halves, halves[::-1]):
        best = _best(rewards, policy, picked_on)
        own = _mean([rewards[policy][seed] for seed in judged_on])
        shares.append(own / (own + _ahead(rewards, best, policy, judged_on)))
    return _mean(shares)


def _best(rewards: Rewards, policy: str, seeds: Sequence[int]) -> str:
    return max(rewards, key=lambda other: _ahead(rewards, other, policy, seeds))


def _ahead(rewards: Rewards, other: str, policy: str, seeds: Sequence[int]) -> float:
    """By how much the other is ahead of the policy on the seeds that it played."""
    own, others = rewards[policy], rewards[other]
    ahead = [others[seed] - own[seed] for seed in seeds if seed < len(others)]
    return _mean(ahead) if ahead else -math.inf


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))
