"""The prior of a direction: the quality of the finding that spawned it, worth two visits."""

from blackboard.state import DirectionRow
from coordinator.frontier.promises import PRIOR_WEIGHT, prior_of
from coordinator.frontier.staircase import Estimate


def with_prior(row: DirectionRow) -> Estimate:
    """All visits and the prior."""
    return Estimate(row.visits + PRIOR_WEIGHT, row.reward_sum_micro + PRIOR_WEIGHT * prior_of(row))


def without_prior(row: DirectionRow) -> Estimate:
    """All visits; of an unvisited direction the prior, by which it may be preferred to others like it."""
    return Estimate(row.visits, row.reward_sum_micro if row.visits else row.prior_micro or 0)
