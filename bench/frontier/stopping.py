"""How often the stopping rule retires a direction that was still worth a visit, and how much it collects.

    python -m bench.frontier.stopping [--seeds N] [--json]

A direction is retired wrongly if its latent mean was at least the least reward θ at that moment. The
run ends when all have retired. `collected` is the share of the useful visits (latent mean at least θ)
that were made, in worlds where they can be counted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.frontier.play import Play
from bench.frontier.record import Record
from bench.frontier.worlds import TREES, Flat, World, abrupt, gradual, unchanged
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES
from coordinator.frontier.stopping import StoppingRule

LEAST_REWARD = 0.25
WORKERS = 16


@dataclass(frozen=True, slots=True)
class Stopping:
    world: str
    visits: float
    retired: float
    wrongly: float
    wrongly_share: float
    collected: float | None


def worlds() -> dict[str, World]:
    return {
        "gradual K=50": Flat(50, graded=False, drift=gradual, visits=100_000),
        "gradual K=50 graded": Flat(50, graded=True, drift=gradual, visits=100_000),
        "abrupt K=50": Flat(50, graded=False, drift=abrupt, visits=100_000),
        "abrupt K=50 graded": Flat(50, graded=True, drift=abrupt, visits=100_000),
        "flat K=50": Flat(50, graded=False, visits=5_000),
        **TREES,
    }


def measured(name: str, world: World, seeds: int, record: Record) -> Stopping:
    runs = [
        record.kept(f"stopping, {name}, {seed}", lambda of=seed: _played(world, of)) for seed in range(seeds)
    ]
    visits, retired, wrongly, made, useful = (sum(counts) for counts in zip(*runs, strict=True))
    return Stopping(
        world=name,
        visits=visits / seeds,
        retired=retired / seeds,
        wrongly=wrongly / seeds,
        wrongly_share=wrongly / max(retired, 1),
        collected=made / useful if useful else None,
    )


def _played(world: World, seed: int) -> list[float]:
    """Visits, directions retired, those of them wrongly; useful visits made, and all there were."""
    play = Play(world, POLICIES[DEFAULT_POLICY], WORKERS, seed, rule=StoppingRule(LEAST_REWARD))
    play.run()
    made = useful = 0
    if isinstance(world, Flat) and world.drift is not unchanged:
        made = sum(latent >= LEAST_REWARD for latent in play.chosen)
        useful = sum(_useful(world, mean) for mean in play.latent.values())
    wrongly = sum(latent >= LEAST_REWARD for latent in play.retired)
    return [len(play.chosen), len(play.retired), wrongly, made, useful]


def _useful(world: Flat, mean: float) -> int:
    """Visits of a direction that are worth making."""
    earlier = 0
    while world.drift(mean, earlier) >= LEAST_REWARD:
        earlier += 1
    return earlier


def explained(seeds: int) -> str:
    """The sentences above the table."""
    return f"""Directions retire under θ = {LEAST_REWARD}, with {WORKERS} workers, seeds 0 to {seeds - 1}.
Numbers are means per run. *Wrongly*: the latent mean was still at least θ. *Collected*: the share made of all
visits that were worth making."""


def table(found: Sequence[Stopping]) -> str:
    """In Markdown."""
    lines = ["| world | visits | retired | wrongly | share | collected |", "|---|---|---|---|---|---|"]
    for line in found:
        collected = "" if line.collected is None else f"{line.collected:.1%}"
        lines.append(
            f"| {line.world} | {line.visits:,.0f} | {line.retired:.1f} | {line.wrongly:.2f} "
            f"| {line.wrongly_share:.1%} | {collected} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    record = Record()
    found = [measured(name, world, options.seeds, record) for name, world in worlds().items()]
    if options.json:
        print(json.dumps([asdict(line) for line in found]))
        return 0
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
