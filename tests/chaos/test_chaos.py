"""A sample of `make chaos`: real processes and servers under every class of faults, judged from outside."""

from pathlib import Path

import pytest

from tests.chaos.chaos import play
from tests.chaos.faults import FAULTS, ROLLBACK

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("seed", "seconds"), [(0, 30), (3, 10)], ids=["every class", "a store cut short"])
async def test_real_processes_under_faults_keep_the_promises(
    tmp_path: Path, seed: int, seconds: float
) -> None:
    found = await play(seed, tmp_path, tasks=400, workers=3, seconds=seconds)
    assert found.breaches == []
    assert found.faults.total() > 3
    assert ("cut the store" in found.faults) == bool(seed % 2)


def test_there_are_enough_classes_of_faults() -> None:
    assert len({*FAULTS, *ROLLBACK}) >= 11
