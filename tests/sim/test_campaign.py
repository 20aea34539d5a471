"""A campaign of simulations can be cut: what it did is kept, and it goes on from there."""

from pathlib import Path

from tests.sim.campaign import report
from tests.support.results import BLOCK, BLOCKS_PER_PROCESS, Line, Results, attack


def _block(seeds: range) -> Line:
    return {
        "first": seeds.start, "seeds": len(seeds), "failed": [seeds[-1]], "virtual_seconds": 36.0,
        "faults": {"kill": 2},
    }  # fmt: skip


def _block_of_the_rest(seeds: range) -> Line:
    assert seeds.start >= BLOCK, "was simulated before"
    return _block(seeds)


def test_what_a_campaign_did_is_not_done_again_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    attack(Results(file, "abc"), _block, range(BLOCK), 1)
    other = report(attack(Results(file, "def"), _block, range(5), 1))
    assert other == {"seeds": 5, "failed": [4], "virtual_hours": 0.01, "faults": {"kill": 2}}
    whole = report(attack(Results(file, "abc"), _block_of_the_rest, range(BLOCK + 3), 1))
    assert whole == {
        "seeds": BLOCK + 3, "failed": [BLOCK - 1, BLOCK + 2], "virtual_hours": 0.02, "faults": {"kill": 4},
    }  # fmt: skip


def test_a_long_attack_outlives_its_processes() -> None:
    blocks = 2 * BLOCKS_PER_PROCESS + 1
    done = attack(Results(None, "abc"), _block, range(blocks * BLOCK), 2)
    assert report(done)["seeds"] == blocks * BLOCK
