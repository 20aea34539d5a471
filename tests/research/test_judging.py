"""A model's judgement counts as far as verified outcomes bear it out, and no further."""

import random

import pytest

from agents.judging import Factors, JudgeRecord, combined


def judged_by(judge: str, judgements: int = 2_000) -> JudgeRecord:
    rng, record = random.Random(1), JudgeRecord()
    for _ in range(judgements):
        outcome = rng.random()
        judgement = {
            "good": min(max(outcome + rng.gauss(0, 0.1), 0), 1),
            "generous": 0.7 + 0.3 * outcome,
            "constant": 0.9,
            "random": rng.random(),
            "inverted": 1 - outcome,
        }[judge]
        record.add(judgement, outcome)
    return record


def test_what_is_not_new_or_not_relevant_or_not_verified_earns_nothing_whatever_the_judge_says() -> None:
    judge = judged_by("good")
    for factors in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        assert combined(Factors(*factors, judgement=1.0), judge) == 0.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.0, 7.0])
def test_a_reward_stays_in_its_range_whatever_comes_in(value: float) -> None:
    judge = judged_by("good")
    assert 0.0 <= combined(Factors(value, 1.0, 1.0, judgement=value, cost=0.1), judge) <= 1.0
    assert 0.0 <= combined(Factors(1.0, 1.0, 1.0, judgement=value, cost=value), judge) <= 1.0


def test_a_good_judge_is_trusted_and_tells_good_from_bad() -> None:
    judge = judged_by("good")
    assert judge.warnings() == []
    assert judge.trust() > 0.35
    good, bad = (combined(Factors(1, 1, 1, judgement=judgement), judge) for judgement in (0.95, 0.05))
    assert good > bad + 0.25


@pytest.mark.parametrize(
    ("judge", "warning"),
    [
        ("constant", "tell nothing apart"),
        ("random", "nothing to do with"),
        ("inverted", "run against"),
        ("generous", "on average where"),
    ],
)
def test_a_judge_that_misleads_is_reported(judge: str, warning: str) -> None:
    assert any(warning in text for text in judged_by(judge).warnings())


@pytest.mark.parametrize("judge", ["constant", "random", "inverted"])
def test_a_judge_that_misleads_decides_nothing(judge: str) -> None:
    record = judged_by(judge)
    rewards = [combined(Factors(0.8, 1, 1, judgement=judgement), record) for judgement in (0.0, 0.5, 1.0)]
    assert max(rewards) - min(rewards) < 0.03


def test_a_judge_decides_nothing_before_enough_was_verified() -> None:
    assert judged_by("good", judgements=29).trust() == 0.0
    assert judged_by("good", judgements=30).trust() > 0.0


def test_a_generous_judge_is_calibrated() -> None:
    judge = judged_by("generous")
    assert judge.calibrated(0.75) < 0.35
    assert judge.calibrated(0.95) > 0.6


def test_a_better_judgement_never_calibrates_lower() -> None:
    for name in ("good", "random", "inverted", "generous"):
        values = [judged_by(name).calibrated(step / 20) for step in range(21)]
        assert values == sorted(values)


def test_a_new_judge_decides_nothing_and_is_not_blamed() -> None:
    judge = judged_by("inverted", judgements=10)
    assert (judge.trust(), judge.warnings()) == (0.0, [])
