"""Topics that say nearly the same meet; topics that differ in what matters do not."""

import pytest

from coordinator.frontier.duplicates import Duplicates

TOPIC = "How does asyncio propagate cancellation through task groups and shielded futures?"


def index(*topics: str) -> Duplicates:
    found = Duplicates()
    for number, topic in enumerate(topics):
        found.add(f"d{number}", topic)
    return found


@pytest.mark.parametrize(
    "topic",
    [
        "how asyncio propagates cancellation through task groups and shielded futures",
        "Cancellation: how is it propagated through asyncio task groups, shielded futures?",
        "asyncio propagates cancellation through the task group and the shielded future",
    ],
)
def test_the_same_in_other_words_is_found(topic: str) -> None:
    found = index(TOPIC, "What suppresses a KeyboardInterrupt?").find(topic)
    assert found is not None
    assert found.direction == "d0"
    assert 0.8 <= found.similarity <= 1.0


@pytest.mark.parametrize(
    "topic",
    [
        "How does asyncio propagate exceptions through streams?",
        "How does asyncio propagate cancellation through task groups without shielded futures?",
        "How does asyncio in Python 3.11 propagate cancellation through task groups and shielded futures?",
        "",
        "???",
    ],
)
def test_what_differs_in_what_matters_is_not(topic: str) -> None:
    assert index(TOPIC).find(topic) is None


def test_numbers_must_agree() -> None:
    found = index("Behaviour of cancellation scopes in release 3.11 of the interpreter")
    assert found.find("Behaviour of cancellation scopes in release 3.12 of the interpreter") is None


def test_the_most_similar_is_found_and_of_equals_the_oldest() -> None:
    found = index(
        "alpha beta gamma delta epsilon zeta",
        "alpha beta gamma delta epsilon",
        "epsilon delta gamma beta alpha",
    )
    match = found.find("alpha beta gamma delta epsilon")
    assert match is not None
    assert (match.direction, match.similarity) == ("d1", 1.0)


def test_a_search_is_bounded_however_many_topics_share_a_word() -> None:
    found = Duplicates(most=50)
    for number in range(20_000):
        found.add(f"d{number}", f"extraordinarily common beginning number{number} tail{number}")
    assert len(list(found._candidates(frozenset({"extraordinarily", "beginning", "common"})))) <= 100
