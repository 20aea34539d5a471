"""Near-duplicate follow-ups meet, and directions that are worth no further visit retire (DESIGN §7)."""

import pytest

from blackboard import events as ev
from blackboard.spec import AgentSpec
from coordinator.decision import Judge
from coordinator.run import Run
from tests.support.table import Table, spec


def table_with(**rules: object) -> Table:
    explore = AgentSpec.model_validate({"name": "explore", **rules})
    return Table(spec(agents=(explore, *spec().agents[1:]), budget={"tasks": 100}))


def propose(table: Table, *topics: str) -> None:
    follow_ups = [{"agent": "explore", "topic": topic} for topic in topics]
    table.commit(table.held(), reward=0.5, follow_ups=follow_ups)
    table.check()


def topics(table: Table) -> list[str]:
    return [row.topic for row in table.state.directions.values() if row.task is not None]


def test_follow_ups_that_say_nearly_the_same_are_one_direction_and_the_merge_is_recorded():
    table = table_with(similarity=0.8)
    propose(table, "How locks are released after errors")
    propose(table, "how are the locks released after an error?")
    assert topics(table) == ["How locks are released after errors"]
    (again,) = [event for event in table.log if isinstance(event, ev.DirectionProposedAgain)]
    assert again.topic == "how are the locks released after an error?"
    assert again.similarity is not None
    assert again.similarity >= 0.8


def test_topics_that_differ_in_a_number_are_two_directions():
    table = table_with(similarity=0.8)
    propose(table, "changes in Python 3.11")
    propose(table, "changes in Python 3.12")
    assert len(topics(table)) == 2


def test_without_a_similarity_only_equal_topics_meet():
    table = table_with()
    propose(table, "How locks are released after errors")
    propose(table, "how are the locks released after an error?", "HOW locks are  released after errors")
    assert len(topics(table)) == 2


def test_a_new_leader_knows_the_topics_of_before():
    table = table_with(similarity=0.8)
    propose(table, "How locks are released after errors")
    table.run = Run.of(table.state)
    propose(table, "how are the locks released after an error?")
    assert len(topics(table)) == 1


@pytest.mark.parametrize(("least_reward", "retires"), [(0.5, True), (None, False)])
def test_a_direction_that_earns_too_little_retires_with_the_reason_in_words(least_reward, retires):
    table = table_with(least_reward=least_reward)
    for _ in range(24):
        lease = table.dispatch()
        if lease is None:
            break
        table.claim(lease)
        table.commit(lease, reward=0.01)
        table.do(Judge(table.task(lease).direction))
        table.check()
    reasons = [row.retired for row in table.state.directions.values()]
    assert all((reason is not None and "must be worth" in reason) == retires for reason in reasons)
