"""How the fleet's slots are shared by the runs that want them."""

from coordinator.allotment import Slots, allot

FLEET = (Slots(frozenset({"think"}), 4), Slots(frozenset({"think", "write"}), 4))


def test_runs_that_want_everything_get_equal_shares():
    assert allot({"a": {"think": 100}, "b": {"think": 100}}, FLEET) == {"a": 4, "b": 4}


def test_what_one_run_leaves_goes_to_the_others():
    assert allot({"a": {"think": 1}, "b": {"think": 100}}, FLEET) == {"a": 1, "b": 7}


def test_no_run_gets_more_than_the_workers_that_offer_its_agents():
    assert allot({"a": {"write": 100}}, FLEET) == {"a": 4}


def test_slots_that_cannot_be_split_go_by_run_id():
    wanted = {run: {"think": 100} for run in "abc"}
    assert allot(wanted, FLEET) == {"a": 3, "b": 3, "c": 2}
