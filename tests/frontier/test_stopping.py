"""Directions retire when their confidence bound falls below what a visit must be worth."""

import random

from blackboard.rewards import start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.divergence import kl, upper_bound
from coordinator.frontier.pooled import NOTHING, Pooled, contribution
from coordinator.frontier.stopping import StoppingRule, ceiling, retirement
from tests.frontier.driver import direction


def told(rewards: list[float]) -> tuple[DirectionRow, Pooled]:
    row, pooled = direction(1), Pooled()
    for reward in rewards:
        tell(row, start(row), round(reward * 1_000_000))
    pooled.replace(NOTHING, contribution(row), spawned=False)
    return row, pooled


def test_a_poor_direction_retires_with_the_reason_in_words() -> None:
    row, pooled = told([0.0, 0.1, 0.05, 0.0, 0.1, 0.05] * 4)
    reason = retirement(row, StoppingRule(least_reward=0.3), pooled)
    assert reason is not None
    assert reason.startswith("after 24 visits with a mean reward of 0.05 it is at best 0.")
    assert reason.endswith("below the 0.30 that a visit must be worth (95% sure)")


def test_a_good_or_little_known_direction_does_not_retire() -> None:
    rule = StoppingRule(least_reward=0.3)
    for rewards in ([0.4, 0.5] * 20, [0.0], []):
        row, pooled = told(rewards)
        assert retirement(row, rule, pooled) is None


def test_two_rewards_that_happen_to_agree_do_not_make_certain() -> None:
    row, pooled = told([0.2, 0.2])
    assert retirement(row, StoppingRule(least_reward=0.4), pooled) is None


def test_a_direction_that_dried_up_retires_although_its_mean_is_high() -> None:
    row, pooled = told([0.9, 0.85, 0.95, 0.9, 0.9] * 6 + [0.02] * 20)
    pooled.replace(NOTHING, contribution(told([0.5, 0.52, 0.48] * 200)[0]), spawned=False)
    reason = retirement(row, StoppingRule(least_reward=0.3), pooled)
    assert reason is not None
    assert "since its rewards dropped" in reason


def test_fewer_than_one_in_twenty_retire_wrongly_however_long_one_looks() -> None:
    rng, wrong, runs = random.Random(4), 0, 200
    for _ in range(runs):
        total = 0
        for visit in range(1, 301):
            total += rng.random() < 0.3
            if ceiling(visit, total / visit, 1.0, 0.05) < 0.3:
                wrong += 1
                break
    assert wrong <= 0.05 * runs


def test_an_upper_bound_is_where_the_divergence_reaches_the_level() -> None:
    rng = random.Random(1)
    for _ in range(3_000):
        mean, level = rng.random(), rng.random() ** 3 * 4
        bound = upper_bound(mean, level)
        assert mean <= bound <= 1.0
        assert kl(mean, bound) <= level + 1e-6
        if bound < 0.999_999:
            assert kl(mean, bound + 1e-8) > level - 1e-6
