"""The prefetch covers what completes while a dispatch travels, and never feeds itself."""

from coordinator.pace import PREFETCH_LIMIT, Pace


def paced(per_second: int, leaving_seconds: float, seconds: int = 10) -> int:
    pace = Pace(0.0)
    for second in range(seconds):
        for number in range(per_second):
            pace.completed()
            pace.left(leaving_seconds)
            if number % 100 == 0:
                pace.prefetch(second + number / per_second)
    return pace.prefetch(float(seconds))


def test_before_anything_has_completed_it_is_one():
    assert Pace(0.0).prefetch(0.0) == Pace(0.0).prefetch(1_000.0) == 1


def test_slow_tasks_get_one_ahead():
    assert paced(1, 0.01) == 1


def test_it_grows_with_the_rate_and_the_time_until_a_dispatch_leaves():
    assert 25 <= paced(2_000, 0.010) <= 36
    assert paced(4_000, 0.020) > 2 * paced(2_000, 0.010)


def test_a_store_that_hangs_does_not_make_it_boundless():
    assert paced(4_000, 5.0) == PREFETCH_LIMIT


def test_a_clock_that_steps_back_counts_as_no_time():
    assert paced(1_000, -3.0) <= 6
