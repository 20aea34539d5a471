"""Whose leases are lost: silence, restarts, and what beats no longer list (DESIGN §6)."""

import pytest

from coordinator.liveness import Fleet, Patience
from protocol.messages import Held, Lease, SwarmHeartbeat
from tests.support.table import RUN, Table

LEAD_SINCE = 1_000.0
SENT_MS = 2_000_000


def beat(*held: Lease, incarnation: str = "i1", through: int = 9, sent_ms: int = SENT_MS) -> SwarmHeartbeat:
    return SwarmHeartbeat(
        worker="w1",
        incarnation=incarnation,
        slots=4,
        held=tuple(Held(run=RUN, **lease.model_dump()) for lease in held),
        claims_through=through,
        sent_ms=sent_ms,
    )


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def fleet():
    return Fleet(Patience(silence_seconds=90, grace_seconds=15))


def causes(fleet: Fleet, table: Table, now: float) -> list[str]:
    lost = fleet.lost(table.state, now, LEAD_SINCE)
    return [loss.cause for one in lost for loss in one.tasks.values()]


def test_silence_is_the_whole_limit_and_not_a_moment_less(fleet, table):
    lease = table.held()
    fleet.heard(beat(lease), LEAD_SINCE)
    assert causes(fleet, table, LEAD_SINCE + 89.9) == []
    assert causes(fleet, table, LEAD_SINCE + 90) == ["silent"]


def test_a_new_leader_waits_for_a_worker_that_it_has_not_heard_of(fleet, table):
    table.held()
    assert causes(fleet, table, LEAD_SINCE + 14.9) == []
    assert causes(fleet, table, LEAD_SINCE + 15) == ["silent"]


def test_a_stored_beat_proves_life_only_while_it_is_young(fleet, table):
    lease = table.held()
    fleet.stored(beat(lease), LEAD_SINCE, age_seconds=60)
    assert causes(fleet, table, LEAD_SINCE + 29) == []
    assert causes(fleet, table, LEAD_SINCE + 30) == ["silent"]


def test_a_stored_beat_beyond_the_limit_is_no_beat(fleet, table):
    lease = table.held()
    fleet.stored(beat(lease), LEAD_SINCE, age_seconds=91)
    assert causes(fleet, table, LEAD_SINCE + 1) == []
    assert dict(fleet.beats(LEAD_SINCE + 1)) == {}


def test_a_lease_is_lost_only_when_two_beats_in_a_row_leave_it_out(fleet, table):
    lease = table.held()
    fleet.heard(beat(lease, sent_ms=SENT_MS), LEAD_SINCE)
    fleet.heard(beat(sent_ms=SENT_MS + 1), LEAD_SINCE + 1)
    assert causes(fleet, table, LEAD_SINCE + 1) == []
    fleet.heard(beat(sent_ms=SENT_MS + 2), LEAD_SINCE + 2)
    assert causes(fleet, table, LEAD_SINCE + 2) == ["unlisted"]


def test_a_beat_says_nothing_of_grants_that_it_does_not_cover(fleet, table):
    table.held()
    for number in range(3):
        fleet.heard(beat(through=0, sent_ms=SENT_MS + number), LEAD_SINCE + number)
    assert causes(fleet, table, LEAD_SINCE + 3) == []


def test_a_restarted_worker_loses_what_it_held_before(fleet, table):
    table.held()
    fleet.heard(beat(incarnation="i2"), LEAD_SINCE)
    assert causes(fleet, table, LEAD_SINCE) == ["restarted"]


def test_a_worker_whose_clock_is_behind_loses_what_it_held_before_it_restarted(fleet, table):
    table.held()
    fleet.heard(beat(incarnation="i1", sent_ms=table.now_ms - 10), LEAD_SINCE)
    fleet.heard(beat(incarnation="i2", sent_ms=table.now_ms - 5), LEAD_SINCE + 1)
    assert causes(fleet, table, LEAD_SINCE + 1) == ["restarted"]


def test_a_new_leader_gives_an_incarnation_that_held_a_task_the_grace_to_be_heard(fleet, table):
    table.held()
    fleet.heard(beat(incarnation="i2", sent_ms=table.now_ms - 5), LEAD_SINCE)
    assert causes(fleet, table, LEAD_SINCE + 14.9) == []
    assert causes(fleet, table, LEAD_SINCE + 15) == ["restarted"]


@pytest.mark.parametrize("ahead_ms", [-1, 10_000_000])
def test_a_beat_of_the_incarnation_before_does_not_take_the_new_one_s_leases(fleet, table, ahead_ms):
    table.held(incarnation="i2")
    fleet.heard(beat(incarnation="i1", sent_ms=table.now_ms + ahead_ms), LEAD_SINCE)
    fleet.claimed("w1", "i2", LEAD_SINCE)
    assert causes(fleet, table, LEAD_SINCE + 89) == []
    assert causes(fleet, table, LEAD_SINCE + 90) == ["silent"]


def test_a_worker_that_restarts_with_its_clock_set_back_is_heard_when_the_one_before_has_fallen_silent(
    fleet, table
):
    lease = table.held(incarnation="i2")
    fleet.heard(beat(incarnation="i1", sent_ms=SENT_MS), LEAD_SINCE)
    fleet.claimed("w1", "i2", LEAD_SINCE + 1)
    for second in range(2, 300, 10):
        fleet.heard(beat(lease, incarnation="i2", sent_ms=second), LEAD_SINCE + second)
        assert causes(fleet, table, LEAD_SINCE + second) == []
    assert [one.incarnation for one in fleet.alive(LEAD_SINCE + 299)] == ["i2"]
