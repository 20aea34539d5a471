"""The frontier's benchmark: policies side by side in simulated worlds, and the gates of the default.

    python -m bench.frontier                                      the gates, 4 seeds
    python -m bench.frontier --set held-out --policies all        any set, any policies
    python -m bench.frontier --page docs/frontier-benchmark.md    the page with its plots; nearly an hour

A cell is the mean latent reward of the visits made, in flat worlds the regret; after ± its standard
error over the seeds 0, 1, 2, …
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.frontier.measure import Cell, measured, table
from bench.frontier.page import Effort, write_page
from bench.frontier.record import Record
from bench.frontier.settings import SETS
from coordinator.frontier.policies import DEFAULT_POLICY, POLICIES


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=list(SETS), default="gates")
    parser.add_argument("--seeds", type=int, help="4, or of a page 40")
    parser.add_argument("--beside", type=int, default=8, help="seeds of a page's policies side by side")
    parser.add_argument("--shares", type=int, help="seeds of a page's shares; three fifths of its seeds")
    parser.add_argument("--policies", default=DEFAULT_POLICY, help="comma-separated, or all")
    parser.add_argument("--json", action="store_true", help="one JSON list of cells instead of the table")
    parser.add_argument("--page", type=Path, help="write the page to this file, and its plots beside it")
    parser.add_argument("--record", type=Path, help="keep what games came to in this file, and go on from it")
    options = parser.parse_args()
    record = Record(options.record)
    if options.page:
        effort = Effort.of(options.seeds or 40, options.beside, options.shares)
        return 0 if write_page(options.page, effort, record) else 1
    policies = list(POLICIES) if options.policies == "all" else options.policies.split(",")
    cells: list[Cell] = []
    for setting in SETS[options.set]():
        for policy in policies:
            cells.append(measured(setting, policy, options.seeds or 4, record))
            last = cells[-1]
            print(
                f"{last.setting} W={last.workers} {policy}: {last.value:.3f} in {last.seconds:.1f} s",
                file=sys.stderr,
            )
    print(json.dumps([asdict(cell) for cell in cells]) if options.json else table(cells))
    return 0 if all(cell.met is not False for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
