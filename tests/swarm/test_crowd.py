"""Many workers fall silent at once. `python -m tests.swarm.crowd` does it with 300 of a thousand."""

from dataclasses import replace

from tests.support.virtual import run_virtually
from tests.swarm.crowd import Found, play

FINE = Found(
    workers=40, silent=12, held=12, seconds=90.0, requeued=12, dispatched=12, second_moves=0,
    messages={"tasks": 12, "heartbeat": 9_999}, peak_per_second=20,
)  # fmt: skip


def test_when_many_workers_fall_silent_their_tasks_move_in_time_once_and_without_a_storm() -> None:
    found = run_virtually(lambda: play(20, 6))
    assert found.problems == []
    assert found.held >= 6
    assert found.seconds > 75


def test_a_storm_is_noticed() -> None:
    assert FINE.problems == []
    assert replace(FINE, seconds=96.0).problems == ["the last task ran elsewhere after 96 s"]
    assert len(replace(FINE, requeued=15, dispatched=15, second_moves=3).problems) == 3
    assert len(replace(FINE, messages={"tasks": 2_000}).problems) == 1
