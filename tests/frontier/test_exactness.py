"""A choice is the exact argmax: what a full scan over all open directions would choose, ties included."""

import copy
import random
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackboard.rewards import start, tell
from coordinator.frontier.adaptive import YOUNG, Adaptive, recent_drop
from coordinator.frontier.indexed import IndexFrontier, IndexPolicy
from coordinator.frontier.indexes import INDEX_RULES
from coordinator.frontier.staircase import UNKNOWN
from tests.frontier.driver import History, direction, full_scan

POLICIES: list[IndexPolicy] = [Adaptive(), *INDEX_RULES]
HISTORIES = 10
OPERATIONS = 285
"""Of each history; with all policies, and rewards, more than 100,000 in all."""


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("rewards", ["coarse", "free", "generous", "depleting"])
def test_the_best_four_are_those_of_a_full_scan(policy: IndexPolicy, rewards: str) -> None:
    for seed in range(HISTORIES):
        history = History(IndexFrontier(policy), random.Random(seed), rewards)
        for _ in range(OPERATIONS):
            expected = full_scan(policy, history.rows)
            found = [arm.row.id for _, arm in history.frontier.best(4)]
            assert found == expected[:4]
            history.step(expected)


def test_among_directions_with_many_visits_each() -> None:
    for seed in range(2):
        history = History(IndexFrontier(Adaptive()), random.Random(seed), "free", openings=0.01)
        for _ in range(2_500):
            expected = full_scan(history.frontier.policy, history.rows)
            assert [arm.row.id for _, arm in history.frontier.best(4)] == expected[:4]
            history.step(expected)
        assert sum(row.visits > YOUNG for row in history.rows) > 6


def test_histories_reach_what_makes_a_choice_hard() -> None:
    history = History(IndexFrontier(Adaptive()), random.Random(2), "depleting")
    restarted, busy, flips = 0, 0, 0
    before: dict[str, tuple[int, bool]] = {}
    for _ in range(2_000):
        history.step([arm.row.id for _, arm in history.frontier.best(4)])
        arms = list(history.frontier.arms())
        now = {arm.row.id: (arm.settled, arm.estimate.restarted) for arm in arms}
        flips += sum(before.get(key) == (settled, not since) for key, (settled, since) in now.items())
        before = now
        restarted += sum(arm.estimate.restarted for arm in arms)
        busy += sum(arm.row.in_flight > 1 for arm in arms)
    assert min(restarted, busy) > 100
    assert flips > 5


@given(
    rewards=st.lists(st.integers(0, 1_000_000), max_size=60),
    dispersions=st.lists(st.floats(0.02, 1.0), min_size=1, max_size=8),
    data=st.data(),
)
def test_what_is_known_from_before_saves_work_and_changes_no_estimate(
    rewards: list[int], dispersions: list[float], data: st.DataObject
) -> None:
    policy, row, known = Adaptive(), direction(1, 0.5), UNKNOWN
    for _ in rewards:
        start(row)
    order = data.draw(st.permutations(list(enumerate(rewards, start=1))))
    for (visit, reward), dispersion in zip(order, cycle(dispersions)):
        tell(row, visit, reward)
        afresh = policy.estimate(row, False, dispersion, UNKNOWN)
        known = policy.estimate(row, False, dispersion, known)
        assert known._replace(edge=afresh.edge) == afresh
        assert known.edge >= recent_drop(row, 0.0)[1]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_frontier_built_from_rows_chooses_as_the_one_that_never_stopped(policy: IndexPolicy) -> None:
    history = History(IndexFrontier(policy), random.Random(5), "depleting")
    for number in range(400):
        history.step([arm.row.id for _, arm in history.frontier.best(4)])
        if number % 40 == 0:
            restored = IndexFrontier(policy, copy.deepcopy(history.rows))
            assert restored.choose(number, 1) == history.frontier.choose(number, 1)
