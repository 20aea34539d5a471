"""The production decisions in a small world in which everything happens that can: no promise is broken."""

from unittest.mock import patch

import pytest

from blackboard import evolve, memory
from coordinator.decision import SendReceipt
from coordinator.decisions import claims, dispatch, ending, results
from tests.model.parts import Bounds
from tests.model.search import Counterexample
from tests.model.walks import walk
from tests.model.world import World
from tests.model.worlds import LARGE, SMALL, explore, spec

STATES = 500_000
WALKS = 40
TINY = Bounds(spec(tasks=1, attempts=2), bus_faults=1)


def test_in_a_small_world_all_states_keep_the_promises_and_from_each_the_run_can_end():
    found = explore(SMALL)
    assert found.complete
    assert found.states > 100_000


@pytest.mark.parametrize("name", LARGE)
def test_the_first_half_million_states_of_a_large_world_keep_the_promises(name: str):
    """Both worlds together: a million states. Those that were not looked at count as able to end."""
    assert explore(LARGE[name], STATES).states == STATES


@pytest.mark.parametrize("name", LARGE)
def test_wherever_faults_have_led_in_a_large_world_a_fair_walk_without_more_of_them_ends(name: str):
    found = walk(World(LARGE[name]), range(WALKS))
    assert found.deepest > 30


def _told_twice(row, visit, reward_micro, cost_micro=0, tell=evolve.tell):
    tell(row, visit, reward_micro, cost_micro)
    row.reward_sum_micro += reward_micro


def _anybody_claims(_state, task, _command, lease) -> str:
    known = task is not None and task.token == lease.token
    return "" if known and task.status in ("dispatched", "running") else "no"


PLANTED = {
    "a result needs no token": (
        (results, "_stale", lambda task, _: "" if task else "no such task"),
        "though the task's token is another",
    ),
    "a claim needs no token": (
        (claims, "_refusal", lambda _s, task, *_: "" if task and task.status == "dispatched" else "no"),
        "is accepted, though the task's token is another",
    ),
    "a refused result is told that it counts": (
        (results, "SendRefusal", lambda worker, it: SendReceipt(worker, it.task, it.token)),
        "is answered as settled, though the task's token is another",
    ),
    "two workers hold one task": ((claims, "_refusal", _anybody_claims), r"in the store w\d holds the task"),
    "statistics count twice": ((evolve, "tell", _told_twice), "a recount of the tasks says"),
    "the budget is no limit": ((dispatch, "exploration_limit", lambda *_: ""), "with a budget of 1"),
    "the store has no fence": (
        (memory.MemoryStore, "_check", lambda *_: None),
        "takes an append under a stale token or on a stale head",
    ),
    "lost leases are not taken back": (
        (ending, "_take_back", lambda *_: None),
        "no way leads to the run's end",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_an_error_planted_in_the_code_is_found(name: str):
    place, said = PLANTED[name]
    with patch.object(*place), pytest.raises(Counterexample, match=said):
        explore(TINY, 30_000)


def test_a_walk_that_does_not_end_is_found():
    place, _ = PLANTED["lost leases are not taken back"]
    with patch.object(*place), pytest.raises(Counterexample, match="the run has not ended"):
        walk(World(LARGE["results"]), range(WALKS))


def test_a_receipt_before_the_append_is_found_and_shown_as_a_sequence_of_steps():
    with pytest.raises(Counterexample) as caught:
        explore(Bounds(spec(tasks=1, attempts=2), effects_wait=False), 1_000)
    first, _, lanes, step, _, last = str(caught.value).splitlines()
    assert first.endswith("leaves, and the store knows nothing of that dispatch")
    assert lanes == "   c1     c2   store   bus     w1     w2  "
    assert step == "   o------------->      |      |      |     c1 takes the lead"
    assert last == f"after 1 steps: {first}"
