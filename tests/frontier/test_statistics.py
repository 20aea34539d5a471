"""What visits do to a direction's statistics."""

from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blackboard.rewards import _block, _low, expire, start, tell
from coordinator.frontier.agenda import Agenda
from coordinator.frontier.pooled import NOTHING, Pooled, contribution
from coordinator.frontier.promises import Outlook
from tests.frontier.driver import direction

Rewards = st.lists(st.none() | st.integers(0, 1_000_000), max_size=120)


@given(rewards=Rewards, data=st.data())
def test_the_order_of_results_does_not_matter(rewards: list[int | None], data: st.DataObject) -> None:
    visits = list(enumerate(rewards, start=1))
    rows = []
    for order in (visits, data.draw(st.permutations(visits))):
        row = direction(1)
        for _ in rewards:
            start(row)
        for visit, reward in order:
            if reward is None:
                expire(row)
            else:
                tell(row, visit, reward)
        rows.append(row)
    assert rows[0] == rows[1]
    assert contribution(rows[0]) == contribution(rows[1])


@given(rewards=Rewards)
def test_sums_equal_a_recount(rewards: list[int | None]) -> None:
    row = direction(1)
    for reward in rewards:
        visit = start(row)
        if reward is None:
            expire(row)
        else:
            tell(row, visit, reward)
    told = [reward for reward in rewards if reward is not None]
    assert (row.numbered, row.in_flight) == (len(rewards), 0)
    assert (row.visits, row.expired) == (len(told), len(rewards) - len(told))
    assert row.reward_sum_micro == sum(told) == sum(row.yields[1::2])
    assert row.reward_squares == sum(reward * reward for reward in told)
    assert sum(row.yields[::2]) == len(told)
    assert row.reward_best_micro == max(told, default=0)


def block_starts(last_visit: int) -> tuple[int, ...]:
    """First visit number, less 1, of each block of `DirectionRow.yields`, oldest first."""
    starts: list[int] = []
    high, size = last_visit, 1
    while high > 0:
        low = _low(high, size)
        starts.extend(range(high - size, low - 1, -size))
        high, size = low, 2 * size
    return tuple(reversed(starts))


def test_a_visit_is_found_in_the_block_that_it_belongs_to() -> None:
    for last in (*range(1, 300), 5_000):
        starts = block_starts(last)
        for visit in range(1, last + 1, 1 + last // 300):
            assert _block(last, visit, len(starts)) == bisect_right(starts, visit - 1) - 1


def test_blocks_of_yields_only_ever_merge() -> None:
    for last in range(1, 2_000):
        earlier, later = block_starts(last), block_starts(last + 1)
        assert set(later) <= {*earlier, last}
        assert all(high > low for low, high in pairwise(later))


def test_the_newest_yields_are_kept_one_by_one_and_a_row_stays_small() -> None:
    assert block_starts(1_000)[-8:] == tuple(range(992, 1_000))
    assert len(block_starts(1_000)) < 80
    assert len(block_starts(1_000_000)) < 180


def test_dispersion_is_1_for_coin_flips_and_small_for_steady_rewards() -> None:
    coins, steady = Pooled(), Pooled()
    for number in range(50):
        coin, graded = direction(number), direction(number)
        for visit in range(4):
            tell(coin, start(coin), 1_000_000 * ((visit + number) % 3 == 0))
            tell(graded, start(graded), 500_000 + 10_000 * ((visit + number) % 3))
        coins.replace(NOTHING, contribution(coin), spawned=False)
        steady.replace(NOTHING, contribution(graded), spawned=False)
    assert coins.dispersion > 0.99
    assert steady.dispersion < 0.05


def test_decay_is_learned_from_directions_that_deplete() -> None:
    pooled = Pooled()
    for number in range(100):
        row = direction(number)
        for visit in range(6):
            tell(row, start(row), round(900_000 * 0.8**visit))
        pooled.replace(NOTHING, contribution(row), spawned=False)
    assert 0.78 < pooled.learned.decay < 0.9


def after_first_visits(results: list[tuple[int, int]]) -> Outlook:
    """What is learned from planned directions with these priors, and first rewards, in micro-units."""
    pooled = Pooled()
    for number, (prior, reward) in enumerate(results):
        row = direction(number, prior / 1_000_000)
        tell(row, start(row), reward)
        pooled.replace(NOTHING, contribution(row), spawned=False)
    return pooled.learned.planned


def test_priors_that_hold_rank_in_full_and_those_that_mislead_hardly() -> None:
    priors = [100_000 * (1 + number % 9) for number in range(90)]
    for outlook in (Outlook(), after_first_visits([(prior, prior) for prior in priors])):
        assert outlook.forecast(0.15) == pytest.approx(0.15)
        assert outlook.forecast(0.85) == pytest.approx(0.85)
    misleading = after_first_visits([(prior, 300_000) for prior in priors])
    assert misleading.forecast(0.8) - misleading.forecast(0.2) < 0.25
    inverted = after_first_visits([(prior, 1_000_000 - prior) for prior in priors])
    assert inverted.forecast(0.8) == inverted.forecast(0.2) == pytest.approx(0.5, abs=0.01)


def test_poor_findings_that_lead_to_nothing_do_not_speak_against_good_ones() -> None:
    poor = [(100_000 + 1_000 * number, 10_000) for number in range(60)]
    good = [(700_000, 600_000)] * 6
    outlook = after_first_visits(poor + good)
    assert outlook.forecast(0.13) < 0.05
    assert outlook.forecast(0.7) > 0.55


def test_priors_that_promise_too_much_are_discounted() -> None:
    outlook = after_first_visits([(800_000, 300_000)] * 96)
    assert -0.5 <= outlook.surprise < -0.45
    assert outlook.forecast(0.8) < 0.35


def test_priors_that_tell_much_are_worth_more_visits_than_those_that_tell_nothing() -> None:
    priors = [100_000 * (1 + number % 9) for number in range(90)]
    coins = after_first_visits([(prior, 1_000_000 * (number % 2)) for number, prior in enumerate(priors)])
    close = after_first_visits(
        [(prior, prior + 20_000 * (-1) ** number) for number, prior in enumerate(priors)]
    )
    assert coins.worth < 2.5
    assert close.worth > 10.0


@given(results=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(0, 1_000_000)), max_size=40))
def test_a_higher_prior_never_promises_less(results: list[tuple[int, int]]) -> None:
    outlook = after_first_visits(results)
    forecasts = [outlook.forecast(prior / 997) for prior in range(998)]
    assert forecasts == sorted(forecasts)
    assert 0.0 <= forecasts[0] <= forecasts[-1] <= 1.0


def test_what_a_plan_promised_is_not_held_against_what_findings_suggested() -> None:
    agenda = Agenda()
    for number in range(8):
        agenda.add(f"planned {number}", prior=0.9)
    for _ in range(6):
        ticket = agenda.ask()
        assert ticket is not None
        agenda.tell(ticket.number, 0.3)
    agenda.add("suggested", prior=0.6, parent="planned 0")
    ticket = agenda.ask()
    assert ticket is not None
    assert ticket.direction == "suggested"
    assert ticket.choice.chosen.index > 0.55
    second = agenda.ask()
    assert second is not None
    assert second.direction in ("planned 6", "planned 7")
    assert second.choice.chosen.index < 0.6
