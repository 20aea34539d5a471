"""A choice is the exact argmax: what a full scan over all open directions would choose, ties included."""

import copy
import random

import pytest

from coordinator.frontier.adaptive import Adaptive
from coordinator.frontier.indexed import IndexFrontier, IndexPolicy
from coordinator.frontier.indexes import INDEX_RULES
from tests.frontier.driver import History, full_scan

POLICIES: list[IndexPolicy] = [Adaptive(), *INDEX_RULES]
HISTORIES = 10
OPERATIONS = 380
"""Of each history; with all policies, and rewards, more than 100,000 in all."""


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("rewards", ["coarse", "free", "depleting"])
def test_the_best_four_are_those_of_a_full_scan(policy: IndexPolicy, rewards: str) -> None:
    for seed in range(HISTORIES):
        history = History(IndexFrontier(policy), random.Random(seed), rewards)
        for _ in range(OPERATIONS):
            expected = full_scan(policy, history.rows)
            found = [arm.row.id for _, arm in history.frontier.best(4)]
            assert found == expected[:4]
            history.step(expected)


def test_histories_reach_what_makes_a_choice_hard() -> None:
    history = History(IndexFrontier(Adaptive()), random.Random(2), "depleting")
    restarted, busy, flips = 0, 0, 0
    before: set[str] = set()
    for _ in range(2_000):
        history.step([arm.row.id for _, arm in history.frontier.best(4)])
        arms = history.frontier.arms()
        now = {arm.row.id for arm in arms if arm.restarted}
        settled = {arm.row.id for arm in arms if arm.restart}
        flips += len((before - now) & settled)
        before = now
        restarted += len(now)
        busy += sum(arm.row.in_flight > 1 for arm in arms)
    assert min(restarted, busy) > 100
    assert flips > 5


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_frontier_built_from_rows_chooses_as_the_one_that_never_stopped(policy: IndexPolicy) -> None:
    history = History(IndexFrontier(policy), random.Random(5), "depleting")
    for number in range(400):
        history.step([arm.row.id for _, arm in history.frontier.best(4)])
        if number % 40 == 0:
            restored = IndexFrontier(policy, copy.deepcopy(history.rows))
            assert restored.choose(number, 1) == history.frontier.choose(number, 1)
