"""Simulates many seeds, in processes side by side, and keeps what came of them in a file as it goes.

One that is cut off goes on where it stopped; the file says what it did until then. Seeds of another commit
do not count.

python -m tests.sim.campaign [--seeds N] [--from N] [--jobs N] [--results FILE] [--done] [--json] [--brief]
"""

import gc
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from tests.sim.simulate import described, simulate
from tests.support.results import Line, Results, attack, commit, seeded


def block(seeds: range, *, brief: bool = False) -> Line:
    """What came of a few seeds."""
    logging.disable()  # what goes wrong goes wrong on purpose
    failed: list[int] = []
    faults, virtual = Counter[str](), 0.0
    for seed in seeds:
        outcome = simulate(seed)
        faults += outcome.faults
        virtual += outcome.virtual_seconds
        if outcome.problems:
            failed.append(seed)
            if not brief:
                print(described(outcome), file=sys.stderr, flush=True)
    gc.collect()
    return {
        "first": seeds.start, "seeds": len(seeds), "failed": failed,
        "virtual_seconds": virtual, "faults": faults,
    }  # fmt: skip


def report(done: Iterable[Line]) -> dict[str, Any]:
    """The sum of what is there."""
    all_of_them = sorted(done, key=lambda one: one["first"])
    faults = sum((Counter(one["faults"]) for one in all_of_them), Counter[str]())
    return {
        "seeds": sum(one["seeds"] for one in all_of_them),
        "failed": [seed for one in all_of_them for seed in one["failed"]],
        "virtual_hours": round(sum(one["virtual_seconds"] for one in all_of_them) / 3600, 2),
        "faults": dict(sorted(faults.items())),
    }


def main() -> int:
    parser = seeded(__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--jobs", "-j", type=int, default=1, help="processes side by side")
    options = parser.parse_args()
    results = Results(options.results, commit())
    seeds = range(options.first, options.first + options.seeds)
    found = report(
        results.done.values()
        if options.done
        else attack(results, partial(block, brief=options.brief), seeds, options.jobs)
    )
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{found['seeds']:,} seeds, {sum(found['faults'].values()):,} faults, "
              f"{found['virtual_hours']:.1f} virtual hours: {len(found['failed'])} failed "
              f"{found['failed'] or ''}")  # fmt: skip
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
