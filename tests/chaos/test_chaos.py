"""A sample of `make chaos`: real processes and servers under every class of faults, judged from outside."""

from pathlib import Path

import pytest

from tests.chaos.chaos import play
from tests.chaos.faults import CLOCKS, FAULTS, LONG, ROLLBACK, VERSIONS
from tests.support.versions import before_the_last_change, code_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("seed", "seconds"), [(0, 30), (3, 10)], ids=["every class", "a store cut short"])
async def test_real_processes_under_faults_keep_the_promises(
    tmp_path: Path, seed: int, seconds: float
) -> None:
    before = before_the_last_change()
    other = code_of(before, tmp_path / "other") if before and not seed % 2 else None
    found = await play(seed, tmp_path, tasks=400, workers=3, seconds=seconds, other=other)
    assert found.breaches == []
    assert found.faults.total() > 3
    assert LONG.keys() <= found.faults.keys()
    assert ("cut the store" in found.faults) == bool(seed % 2)


def test_there_are_enough_classes_of_faults() -> None:
    assert len({*FAULTS, *LONG, *CLOCKS, *VERSIONS, *ROLLBACK}) >= 26
