"""A reader who knows no bandits understands why a direction was chosen."""

import pytest

from coordinator.frontier.agenda import Agenda
from coordinator.frontier.explain import coverage, explain, rank, tree

TOPICS = {"a": "cancel scopes", "b": "task groups", "c": "shielding"}


def agenda_of(*directions: str, policy: str = "adaptive") -> Agenda:
    agenda = Agenda(policy)
    for direction in directions:
        agenda.add(direction, topic=TOPICS[direction])
    return agenda


def settle(agenda: Agenda, reward: float) -> str:
    ticket = agenda.ask()
    assert ticket is not None
    agenda.tell(ticket.number, reward)
    return explain(ticket.choice, TOPICS)


def test_a_first_visit_is_explained_by_the_finding_that_suggested_it() -> None:
    agenda = agenda_of("a")
    agenda.add("b", topic=TOPICS["b"], prior=0.8, parent="a")
    text = settle(agenda, 0.5)
    assert text.startswith("Chosen: “task groups”, out of 2 open directions. It has not been visited yet;")
    assert "it was suggested with a rating of 0.80 (of 1)" in text
    assert "Next in line: “cancel scopes” (not visited, worth up to 0.50)." in text


def test_a_further_visit_is_explained_by_what_the_visits_earned() -> None:
    agenda = agenda_of("a", "b", "c")
    texts = [settle(agenda, 0.9) for _ in range(4)]
    assert "3 visits to it earned 0.80 (of 1) on average, with the 0.50 at which it was rated" in texts[3]
    assert "no other" in texts[3]


def test_ratings_that_turned_out_too_high_are_named() -> None:
    agenda = Agenda()
    for key, topic in TOPICS.items():
        agenda.add(key, topic=topic, prior=0.9)
    texts = [settle(agenda, 0.3) for _ in range(5)]
    assert "and such directions have so far earned 0.12 less than that" in texts[1]
    assert "Allowing for how such ratings turned out, its next visit may earn up to" in texts[1]
    assert any("Allowing for ratings that turned out too high, its next visit may" in text for text in texts)


def test_visits_under_way_are_named() -> None:
    agenda = agenda_of("a")
    agenda.ask()
    assert "No visit to it has ended yet, with 1 under way; nobody rated it" in settle(agenda, 0.5)
    agenda.ask()
    assert (
        "on average, with the 0.50 at which it was rated beforehand weighed in, 2 more visits under way"
        in (settle(agenda, 0.5))
    )


@pytest.mark.parametrize(
    ("policy", "reason", "others"),
    [("ucb1", "Its score is the highest, ", ", score "), ("thompson", "a plausible value", ", drew ")],
)
def test_what_is_no_reward_is_not_called_one(policy: str, reason: str, others: str) -> None:
    agenda = agenda_of("a", "b", "c", policy=policy)
    *_, text = (settle(agenda, 0.5) for _ in range(4))
    assert reason in text
    assert others in text
    assert "worth up to" not in text


def test_the_sentence_holds_no_jargon() -> None:
    agenda = agenda_of("a", "b", "c")
    for number in range(40):
        text = settle(agenda, (number % 3) / 2)
        for word in ("bandit", "arm", "UCB", "KL", "regret", "dispersion", "index", "bonus", "None", "d-"):
            assert word not in text.replace("“", " ").split()


def test_the_ranked_table_starts_with_what_would_be_chosen_and_ends_with_what_is_closed() -> None:
    agenda = agenda_of("a", "b", "c")
    for _ in range(6):
        settle(agenda, 0.4)
    agenda.retire("b", "below what a visit must be worth")
    lines = rank(list(agenda.rows.values()), "adaptive")
    ticket = agenda.ask()
    assert ticket is not None
    assert lines[0].direction == ticket.direction
    assert [line.place for line in lines] == [1, 2, 3]
    assert (lines[-1].direction, lines[-1].closed) == ("b", "below what a visit must be worth")
    assert lines[-1].index is None


def test_the_tree_shows_who_led_to_whom_and_what_came_of_it() -> None:
    agenda = agenda_of("a")
    agenda.add("b", topic="", parent="a")
    agenda.add("c", topic="", parent="b")
    agenda.add("other", topic="")
    for _ in range(4):
        settle(agenda, 0.5)
    lines = tree(agenda.rows.values())
    assert [(line.depth, line.row.id, line.below) for line in lines] == [
        (0, "a", 2),
        (1, "b", 1),
        (2, "c", 0),
        (0, "other", 0),
    ]
    assert lines[0].visits == sum(agenda.rows[key].visits for key in "abc")


def test_a_deep_tree_needs_no_recursion() -> None:
    agenda = Agenda()
    agenda.add("0")
    for number in range(1, 3_000):
        agenda.add(str(number), parent=str(number - 1))
    assert tree(agenda.rows.values())[-1].depth == 2_999


def test_coverage_says_what_was_not_explored_and_why() -> None:
    agenda = agenda_of("a", "b", "c")
    settle(agenda, 0.9)
    agenda.retire("b", "below what a visit must be worth")
    text = coverage(list(agenda.rows.values()))
    assert text.startswith("1 visit went to 1 of 3 directions.")
    assert "1 direction ended early: nothing more to find, or no longer worth a visit." in text
    assert "1 direction was left unvisited: others promised more, or it came too late." in text
    assert coverage([]) == "No direction was opened."
