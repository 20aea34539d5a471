"""The share of the best policy's reward is not made smaller by luck, and says how sure it is."""

from pathlib import Path
from random import Random

import pytest

from bench.frontier.record import Record
from bench.frontier.settings import Setting
from bench.frontier.shares import LONG, SHORT, Share, seeds_of, share, weakness, worst
from bench.frontier.worlds import Tree

SETTING = Setting("small", Tree(visits=130), 4, "reward")


def noisy(mean: float, seeds: int, rng: Random) -> list[float]:
    return [rng.gauss(mean, 0.1) for _ in range(seeds)]


def test_the_share_of_what_is_twice_as_good_elsewhere_is_a_half() -> None:
    found = share(SETTING, {"own": [0.2, 0.3] * 10, "other": [0.4, 0.6] * 10}, "own")
    assert found.value == pytest.approx(0.5)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert (found.best, found.reward) == ("other", pytest.approx(0.25))


def test_among_equals_no_share_is_lost_to_luck() -> None:
    crossed, naive = list[float](), list[float]()
    for trial in range(60):
        rng = Random(trial)
        rewards = {policy: noisy(0.5, 12, rng) for policy in "abcdefgh"}
        crossed.append(share(SETTING, rewards, "a").value)
        naive.append(sum(rewards["a"]) / max(sum(values) for values in rewards.values()))
    assert sum(naive) / 60 < 0.94
    assert sum(crossed) / 60 == pytest.approx(1.0, abs=0.02)


def test_the_error_is_that_of_repeating_it_all() -> None:
    found = [
        share(SETTING, {"a": noisy(0.4, 20, rng), "b": noisy(0.5, 20, rng)}, "a")
        for rng in map(Random, range(60))
    ]
    mean = sum(one.value for one in found) / 60
    spread = (sum((one.value - mean) ** 2 for one in found) / 60) ** 0.5
    assert 0.6 * spread < sum(one.error for one in found) / 60 < 1.6 * spread


def test_a_rival_that_played_fewer_seeds_is_compared_on_those() -> None:
    own = [0.1] * 4 + [0.9] * 16
    assert share(SETTING, {"own": own, "rival": [0.1] * 4}, "own").value == pytest.approx(1.0)


def test_the_worst_share_comes_with_an_interval() -> None:
    sure = Share("sure", 4, 0.5, 0.8, 0.01, "greedy")
    least, low, high = worst([sure, Share("unsure", 4, 0.5, 0.95, 0.1, "greedy")])
    assert least is sure
    assert low < 0.8 < high


def test_where_the_default_is_weak_is_said_in_words() -> None:
    strong = Share("strong", 4, 0.5, 0.97, 0.01, "adaptive")
    assert "below 0.93 nowhere" in weakness([strong])
    said = weakness([strong, Share("weak", 8, 0.333, 0.83, 0.02, "ucb1")])
    assert "below 0.93 in 1 of 2 settings" in said
    assert "in *weak* with 8 workers, the default earns 0.333 a visit and ucb1 is best" in said


def test_a_rival_that_played_few_seeds_does_not_make_the_share_unsure() -> None:
    rng = Random(1)
    own = noisy(0.4, 24, rng)
    rewards = {"own": own, "rival": [reward + 0.1 for reward in own[:4]]}
    found = share(SETTING, rewards, "own")
    assert found.value == pytest.approx(0.8, abs=0.02)
    assert found.error < 0.02


def test_long_settings_are_played_with_fewer_seeds() -> None:
    long = Setting("long", Tree(visits=LONG + 1), 4, "reward")
    short = Setting("short", Tree(visits=SHORT), 4, "reward")
    assert seeds_of(short, "thompson", 40) == 40
    assert seeds_of(SETTING, "adaptive", 40) == 40
    assert seeds_of(SETTING, "thompson", 40) == 0
    assert seeds_of(long, "adaptive", 40) == 8
    assert seeds_of(long, "ucb1", 40) == 4


def test_a_game_that_is_on_record_is_not_played_again(tmp_path: Path) -> None:
    kept = tmp_path / "games.jsonl"
    played = Record(kept).result(SETTING, "greedy", 3)
    written = kept.read_text(encoding="utf-8")
    assert Record(kept).result(SETTING, "greedy", 3) == played
    assert kept.read_text(encoding="utf-8") == written
    kept.write_text(written.replace(str(played.mean), "0.125"), encoding="utf-8")
    assert Record(kept).result(SETTING, "greedy", 3).mean == 0.125
