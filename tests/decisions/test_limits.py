"""Limits of one agent: how many of its tasks are under way at once, and how many begin in a minute."""

from hypothesis import given, settings
from hypothesis import strategies as st

from blackboard.spec import AgentSpec, Budget
from blackboard.state import restore
from coordinator.decision import Redispatch
from coordinator.decisions.dispatch import wanted
from coordinator.decisions.limits import burst, room
from tests.support.table import Table, spec


def table(**limits: object) -> Table:
    return Table(spec(agents=[AgentSpec(name="explore", **limits), AgentSpec(name="free")], budget=Budget()))


def test_no_more_tasks_of_an_agent_are_under_way_than_it_allows():
    one = table(max_running=2)
    first, _ = one.held(), one.dispatch()
    assert one.dispatch() is None
    assert wanted(one.state, one.now_ms) == {"explore": 2}
    one.commit(first, reward=0.5)
    assert one.dispatch() is not None
    one.check()


def test_tasks_that_wait_for_another_attempt_keep_to_the_limit_too():
    one = table(max_running=1)
    failure = {"outcome": "failed", "failure": {"kind": "transient", "message": "no"}}
    one.commit(one.held(), **failure)
    one.commit(one.held(), **failure)
    one.now_ms += 60_000
    assert len(one.do(Redispatch({"explore": 9}, 9)).events) == 1
    assert one.do(Redispatch({"explore": 9}, 9)).events == []


def test_dispatches_of_an_agent_with_a_rate_are_spread_over_the_minute():
    one = table(per_minute=6)
    assert one.dispatch() is not None
    assert one.dispatch() is None
    one.now_ms += 9_999
    assert one.dispatch() is None
    one.now_ms += 1
    assert one.dispatch() is not None
    one.check()


def test_a_rate_survives_a_take_over():
    one = table(per_minute=6)
    one.dispatch()
    old = one.state
    rows = old.tasks.values(), old.directions.values(), old.inquiries.values()
    state = restore(old.head, old.spec, old.totals, *rows)
    assert room(state, "explore", one.now_ms) == 0
    assert room(state, "explore", one.now_ms + 10_000) == 1


def test_an_agent_without_limits_has_none():
    assert room(table(max_running=1).state, "free", 0) > 1_000


@settings(max_examples=100, deadline=None)
@given(st.floats(0.5, 600), st.lists(st.integers(0, 5_000), max_size=60))
def test_in_no_stretch_of_time_more_are_dispatched_than_the_rate_and_a_second_of_it_allow(per_minute, pauses):
    one = table(per_minute=per_minute)
    times: list[int] = []
    for pause in pauses:
        one.now_ms += pause
        while one.dispatch() is not None:
            times.append(one.now_ms)
    spacing = round(60_000 / per_minute)
    for at, first in enumerate(times):
        for number, last in enumerate(times[at:], 1):
            assert number <= (last - first) / spacing + burst(per_minute) + 1e-3 * number + 1
