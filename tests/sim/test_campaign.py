"""A campaign of simulations can be cut: what it did is kept, and it goes on from there."""

from pathlib import Path
from unittest.mock import patch

from tests.sim import campaign
from tests.sim.campaign import BLOCK, play
from tests.support.results import Line, Results


def _block(seeds: range, *, brief: bool) -> Line:
    assert not brief
    return {
        "first": seeds.start, "seeds": len(seeds), "failed": [seeds[-1]], "virtual_seconds": 36.0,
        "faults": {"kill": 2},
    }  # fmt: skip


def _block_of_the_rest(seeds: range, *, brief: bool) -> Line:
    assert seeds.start >= BLOCK, "was simulated before"
    return _block(seeds, brief=brief)


def test_what_a_campaign_did_is_not_done_again_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    with patch.object(campaign, "block", _block):
        play(Results(file, "abc"), range(BLOCK), 1)
        other = play(Results(file, "def"), range(5), 1)
    assert other == {"seeds": 5, "failed": [4], "virtual_hours": 0.01, "faults": {"kill": 2}}
    with patch.object(campaign, "block", _block_of_the_rest):
        whole = play(Results(file, "abc"), range(BLOCK + 3), 1)
    assert whole == {
        "seeds": BLOCK + 3, "failed": [BLOCK - 1, BLOCK + 2], "virtual_hours": 0.02, "faults": {"kill": 4},
    }  # fmt: skip
