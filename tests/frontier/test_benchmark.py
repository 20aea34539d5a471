"""A small seeded sample of the benchmark (`bench/frontier`): the default keeps what it reached."""

import pytest

from bench.frontier.measure import measured
from bench.frontier.play import Play
from bench.frontier.record import Record
from bench.frontier.settings import Setting, design
from bench.frontier.worlds import TREES, Flat, World, gradual
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES
from coordinator.frontier.stopping import StoppingRule

SEEDS = range(8)
WORKERS = 16


def reward(policy: str, world: World) -> float:
    return sum(Play(world, POLICIES[policy], WORKERS, seed).run().mean for seed in SEEDS) / len(SEEDS)


def regret(world: World, lost: float = 0.0, seeds: int = 2) -> float:
    plays = [Play(world, POLICIES[DEFAULT_POLICY], WORKERS, seed, lost) for seed in range(seeds)]
    return sum(play.run().regret for play in plays) / len(plays)


@pytest.mark.parametrize(
    ("tree", "least"), [("T1", 0.90), ("T2", 0.77), ("T3", 0.71), ("T4", 0.80), ("T5", 0.47)]
)
def test_growing_trees_are_explored_where_it_pays(tree: str, least: float) -> None:
    assert reward(DEFAULT_POLICY, TREES[tree]) >= least


def test_the_default_is_far_above_ucb1() -> None:
    assert reward(DEFAULT_POLICY, TREES["T4"]) > 2 * reward("ucb1", TREES["T4"])


def test_regret_in_a_flat_world_is_small_with_coins_and_with_graded_rewards() -> None:
    assert regret(Flat(10, graded=False, visits=3_000)) < 70
    assert regret(Flat(50, graded=True, visits=3_000)) < 120


def test_losing_a_tenth_of_the_visits_costs_little() -> None:
    world = Flat(20, graded=False, visits=1_000)
    assert regret(world, lost=0.1, seeds=8) < 1.25 * regret(world, seeds=8)


def test_a_short_run_by_many_workers_finds_nearly_as_much_as_the_best_policies() -> None:
    shares: list[float] = []
    for setting in design()[:24]:
        if setting.name.startswith("short"):
            found = {policy: mean_reward(setting, policy) for policy in (DEFAULT_POLICY, "greedy", "ucb1")}
            shares.append(found[DEFAULT_POLICY] / max(found.values()))
    assert min(shares) > 0.8
    assert sum(shares) / len(shares) > 0.95


def mean_reward(setting: Setting, policy: str) -> float:
    return measured(setting, policy, 12, Record()).value


def test_a_game_replays_exactly() -> None:
    games = [Play(TREES["T2"], POLICIES[DEFAULT_POLICY], WORKERS, seed=3) for _ in range(2)]
    for game in games:
        game.run()
    assert games[0].chosen == games[1].chosen
    assert games[0].rows == games[1].rows


def test_the_stopping_rule_collects_nearly_all_and_retires_none_too_early() -> None:
    world, rule = Flat(20, graded=True, drift=gradual, visits=50_000), StoppingRule(least_reward=0.25)
    play = Play(world, POLICIES[DEFAULT_POLICY], WORKERS, seed=1, rule=rule)
    play.run()
    assert len(play.retired) == 20
    assert not [latent for latent in play.retired if latent >= 0.25]
