"""What `make soak` says of the figures that it has read."""

from dataclasses import replace

from tests.chaos.soak import SEGMENT_EVENTS, Sample, figures

WARM = Sample(60.0, 50.0, 20, 12, 4, 4, 1_200, 30.0, 20)


def growing(samples: list[Sample]) -> list[str]:
    return [one["name"] for one in figures(samples) if not one["holds"]]


def test_what_goes_up_and_down_does_not_grow() -> None:
    busy = replace(WARM, coordinator_mb=80.0, log_events=1_600, open_tasks=200)
    assert growing([WARM, busy, WARM, WARM, busy, WARM, WARM, busy, WARM]) == []


def test_a_leak_is_told_by_its_name() -> None:
    leaking = [
        replace(WARM, worker_mb=50.0 + 2 * number, coordinator_descriptors=20 + number)
        for number in range(30)
    ]
    assert growing(leaking) == ["worker_mb", "coordinator_descriptors"]


def test_a_log_that_nobody_trims_grows() -> None:
    assert growing([replace(WARM, log_events=SEGMENT_EVENTS * number) for number in range(1, 31)]) == [
        "log_events"
    ]
