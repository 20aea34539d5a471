"""Whatever fails in whatever order: once the faults stop, every run ends and the promises hold."""

from functools import partial

import pytest

from tests.support.virtual import run_virtually
from tests.swarm.storms import storm


@pytest.mark.parametrize("seed", range(12))
def test_after_a_storm_every_run_ends_and_the_log_agrees_with_the_rows(seed: int) -> None:
    run_virtually(partial(storm, seed, runs=1, tasks=25, seconds=45))
