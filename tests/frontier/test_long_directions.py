"""A direction may be visited any number of times: what the frontier holds of it hardly grows."""

import gc
import tracemalloc

from blackboard.rewards import start, tell
from blackboard.spec import AgentSpec
from blackboard.state import DirectionRow
from coordinator.frontier.policies import frontier

BYTES_PER_VISIT = 64


def test_thousands_of_visits_of_one_direction_leave_next_to_nothing_behind():
    row = DirectionRow(id="d", agent="a", topic="t", opened=1, opened_ms=0)
    policy = frontier(AgentSpec(name="a").policy, [row])

    def visited(times: int) -> None:
        for _ in range(times):
            assert policy.choose(row.numbered, 7) is not None
            number = start(row)
            policy.changed(row)
            tell(row, number, 500_000 + number % 7)
            policy.changed(row)

    visited(1_000)
    gc.collect()
    tracemalloc.start()
    try:
        visited(4_000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < BYTES_PER_VISIT * 4_000
