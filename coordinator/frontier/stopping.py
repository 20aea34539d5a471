"""When a direction is worth no further visit: its confidence bound says so, and for what reason."""

import math
from dataclasses import dataclass

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.adaptive import recent_drop
from coordinator.frontier.divergence import upper_bound
from coordinator.frontier.pooled import Pooled


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """`least_reward` (θ) is the least expected reward that is worth the cost of a visit, in [0, 1]."""

    least_reward: float
    chance: float = 0.05
    """Bound on retiring a direction wrongly, ever; per direction (δ)."""
    fewest_visits: int = 2


def ceiling(visits: int, mean: float, dispersion: float, chance: float) -> float:
    """sup{q : N kl(mean, q) <= dispersion * ln(3 (N + 1)^1.5 / chance)}.

    For coin flips the true mean lies above it, after any number of visits, with at most that chance.
    """
    if not visits:
        return 1.0
    level = dispersion * math.log(3.0 * (visits + 1) ** 1.5 / chance)
    return upper_bound(mean, level / visits)


def retirement(row: DirectionRow, rule: StoppingRule, pooled: Pooled) -> str | None:
    """Why the direction is worth no further visit, in words; None while it may be.

    What is in flight is left out: it costs its visit in any case, and its result is judged when it comes.
    """
    if row.retired is not None or row.visits < rule.fewest_visits:
        return None
    visits, total, since = row.visits, row.reward_sum_micro, ""
    drop, _ = recent_drop(row, pooled.dispersion)
    if drop is not None:
        visits, total, since = drop.visits, drop.reward_micro, " since its rewards dropped"
    mean = total / (MICRO * visits)
    highest = ceiling(visits, mean, pooled.cautious_dispersion, rule.chance)
    if highest >= rule.least_reward:
        return None
    return (
        f"after {visits} visits{since} with a mean reward of {mean:.2f} it is at best {highest:.2f}, "
        f"below the {rule.least_reward:.2f} that a visit must be worth ({1 - rule.chance:.0%} sure)"
    )
