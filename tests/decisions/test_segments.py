"""Which events leave the log, and when."""

import pytest

from coordinator.segments import Segments


def played(segments: Segments, *groups: int) -> list[int]:
    """What each group trims; the head grows by its events."""
    head, asked = 0, []
    for events in groups:
        head += events
        asked.append(segments.leaving(head).trim)
    return asked


def test_the_group_that_fills_a_segment_takes_the_oldest_away():
    assert played(Segments(20, 10), *[5] * 8) == [0, 0, 0, 0, 0, 11, 0, 21]


@pytest.mark.parametrize("group", [1, 3, 7, 40])
def test_a_log_never_holds_more_than_what_is_kept_and_a_segment(group: int):
    segments, head, first = Segments(50, 20), 0, 1
    for _ in range(300):
        head += group
        first = max(first, segments.leaving(head).trim)
        assert min(head, 50) <= head - first + 1 < 50 + 20 + group


def test_a_new_leader_trims_at_its_first_append_what_is_due():
    assert Segments(20, 10).leaving(1_005).trim == 981


def test_a_log_that_is_shorter_than_what_is_kept_stays_whole():
    assert played(Segments(1_000, 10), *[100] * 10) == [0] * 10
