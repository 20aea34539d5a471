"""The prior of a direction: the quality of the finding that spawned it, worth two visits."""

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.frontier.indexed import Estimate

PRIOR_WEIGHT = 2
ROOT_PRIOR_MICRO = MICRO // 2


def with_prior(row: DirectionRow) -> Estimate:
    """All visits and the prior."""
    prior = ROOT_PRIOR_MICRO if row.prior_micro is None else row.prior_micro
    return Estimate(row.visits + PRIOR_WEIGHT, row.reward_sum_micro + PRIOR_WEIGHT * prior)


def without_prior(row: DirectionRow) -> Estimate:
    """All visits; of an unvisited direction the prior, by which it may be preferred to others like it."""
    return Estimate(row.visits, row.reward_sum_micro if row.visits else row.prior_micro or 0)
