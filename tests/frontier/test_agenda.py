"""Ask and tell: tickets settle once, in any order, and a restored agenda goes on as if never stopped."""

import json
import random

import pytest

from coordinator.frontier.agenda import Agenda
from coordinator.frontier.policies import POLICIES, frontier
from protocol.errors import InvalidMessage, InvalidSettings, NotFound


def explored(policy: str, asks: int, seed: int = 0) -> tuple[Agenda, random.Random]:
    rng = random.Random(seed)
    agenda = Agenda(policy, seed=7)
    for number in range(6):
        agenda.add(f"root-{number}", prior=rng.random())
    play(agenda, rng, asks)
    return agenda, rng


def play(agenda: Agenda, rng: random.Random, asks: int) -> list[str]:
    """Asks and settles at random; returns what was chosen."""
    chosen: list[str] = []
    pending: list[int] = []
    for number in range(asks):
        ticket = agenda.ask()
        assert ticket is not None
        chosen.append(ticket.direction)
        pending.append(ticket.number)
        if rng.random() < 0.2:
            agenda.add(f"{ticket.direction}-{number}"[-40:], prior=rng.random(), parent=ticket.direction)
        while len(pending) > 4:
            settled = pending.pop(rng.randrange(len(pending)))
            if rng.random() < 0.1:
                agenda.expire(settled)
            else:
                agenda.tell(settled, rng.random(), cost=rng.random())
    return chosen


@pytest.mark.parametrize("policy", POLICIES)
def test_a_restored_agenda_makes_the_same_choices_as_one_that_never_stopped(policy: str) -> None:
    agenda, rng = explored(policy, asks=80)
    restored = Agenda.restore(json.loads(json.dumps(agenda.snapshot())))
    again = random.Random()
    again.setstate(rng.getstate())
    assert play(agenda, rng, 60) == play(restored, again, 60)
    assert agenda.snapshot() == restored.snapshot()


@pytest.mark.parametrize("policy", POLICIES)
def test_shuffled_and_repeated_tells_give_the_same_state(policy: str) -> None:
    rng = random.Random(3)
    agendas = [Agenda(policy), Agenda(policy)]
    for agenda in agendas:
        for number in range(5):
            agenda.add(f"root-{number}")
        for _ in range(40):
            agenda.ask()
    results = [(number, rng.random()) for number in range(40)]
    for number, reward in results:
        assert agendas[0].tell(number, reward)
    repeated = results * 3
    rng.shuffle(repeated)
    told = sum(agendas[1].tell(*result) for result in repeated)
    assert told == 40
    assert agendas[0].snapshot() == agendas[1].snapshot()
    assert agendas[0].ask() == agendas[1].ask()


def test_work_in_flight_spreads_over_directions() -> None:
    agenda = Agenda()
    for number in range(8):
        agenda.add(f"d{number}", prior=0.5)
        agenda.tell(_ask(agenda), 0.5)
    asked = [agenda.ask() for _ in range(8)]
    assert len({ticket.direction for ticket in asked if ticket}) > 1


def test_the_first_free_workers_do_not_pile_onto_the_best_guess() -> None:
    agenda = Agenda()
    for number in range(10):
        agenda.add(f"d{number}", prior=0.5 + 0.04 * number)
    asked = [agenda.ask() for _ in range(16)]
    assert len({ticket.direction for ticket in asked if ticket}) == 10


def test_a_settled_ticket_cannot_be_settled_again() -> None:
    agenda = Agenda()
    agenda.add("only")
    told, expired = _ask(agenda), _ask(agenda)
    assert agenda.tell(told, 0.4)
    assert not agenda.tell(told, 0.9)
    assert not agenda.expire(told)
    assert agenda.expire(expired)
    assert not agenda.tell(expired, 1.0)
    row = agenda.rows["only"]
    assert (row.visits, row.expired, row.in_flight, row.reward_sum_micro) == (1, 1, 0, 400_000)


def test_a_retired_direction_is_asked_for_no_more_but_what_is_in_flight_still_tells() -> None:
    agenda = Agenda()
    agenda.add("one")
    ticket = _ask(agenda)
    assert agenda.retire("one", "not worth a visit")
    assert agenda.ask() is None
    assert agenda.tell(ticket, 0.5)
    assert agenda.rows["one"].visits == 1
    assert not agenda.retire("one", "again")


def test_a_direction_stops_at_its_greatest_number_of_visits() -> None:
    agenda = Agenda()
    agenda.add("twice", max_visits=2)
    assert [agenda.ask() is None for _ in range(3)] == [False, False, True]


def test_wrong_input_is_refused_by_name() -> None:
    agenda = Agenda()
    agenda.add("one")
    number = _ask(agenda)
    with pytest.raises(NotFound, match="ticket"):
        agenda.tell(99, 0.5)
    with pytest.raises(NotFound, match="direction"):
        agenda.retire("other", "unknown")
    for reward in (1.5, -0.1, float("nan")):
        with pytest.raises(InvalidMessage, match="reward"):
            agenda.tell(number, reward)
    assert agenda.tell(number, 0.5)
    with pytest.raises(InvalidSettings, match="no policy 'best'"):
        frontier("best")


def test_a_dearer_direction_of_equal_reward_is_visited_less_per_cost() -> None:
    agenda = Agenda("adaptive-per-cost")
    agenda.add("cheap")
    agenda.add("dear")
    for _ in range(60):
        ticket = agenda.ask()
        assert ticket is not None
        agenda.tell(ticket.number, 0.5, cost=1.0 if ticket.direction == "cheap" else 5.0)
    assert agenda.rows["cheap"].visits > 3 * agenda.rows["dear"].visits


def _ask(agenda: Agenda) -> int:
    ticket = agenda.ask()
    assert ticket is not None
    return ticket.number
