"""The worlds that are searched, and walked through.

python -m tests.model.worlds [--states N] [--walks N] [--json]
"""

import argparse
import gc
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol.messages import FollowUp
from tests.model.parts import Bounds
from tests.model.search import Found, search
from tests.model.walks import walk
from tests.model.world import World


def spec(tasks: int, attempts: int) -> RunSpec:
    """A run of one direction that is visited so often."""
    return RunSpec(
        run="run-1",
        goal="find out",
        agents=(AgentSpec(name="explore", policy="ucb1"),),
        roots=(FollowUp(agent="explore", topic="alpha"),),
        budget=Budget(tasks=tasks),
        max_attempts=attempts,
    )


SMALL = Bounds(spec(tasks=2, attempts=2), crashes=1, bus_faults=0, group=1)
"""Small enough to be searched to its end."""
LARGE: Mapping[str, Bounds] = {
    "results": Bounds(spec(tasks=2, attempts=3)),
    "failures": Bounds(spec(tasks=2, attempts=3), outcomes=("done", "transient", "bug", "released")),
}
"""Two tasks, three attempts, two crashes, two faults of the bus, three messages under way."""


def explore(bounds: Bounds, at_most: int = sys.maxsize) -> Found:
    """Searches with the garbage collector off: there are millions of tuples, and no cycles."""
    gc.collect()
    gc.disable()
    try:
        return search(World(bounds), at_most=at_most)
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--states", type=int, default=1_000_000, help="at most, of each world")
    parser.add_argument("--walks", type=int, default=1_000, help="through each large world")
    parser.add_argument("--json", action="store_true", help="print an object instead of lines")
    options = parser.parse_args()
    found = {"small": explore(SMALL, options.states)}
    for name, bounds in LARGE.items():
        found[name] = explore(bounds, options.states)
    walked = {name: walk(World(bounds), range(options.walks)) for name, bounds in LARGE.items()}
    if options.json:
        both = {"worlds": found, "walks": walked}
        print(json.dumps({key: {name: asdict(one) for name, one in of.items()} for key, of in both.items()},
                         indent=2))  # fmt: skip
        return
    for name, one in found.items():
        print(
            f"{name:10} {one.states:10,} states{'' if one.complete else ' (more were not looked at)'}, "
            f"{one.transitions:,} steps between them, up to {one.depth} steps from the start, "
            f"{one.runs:,} states of the run, {one.decisions:,} decisions, {one.seconds:.0f} s"
        )
    for name, one in walked.items():
        print(f"{name:10} {one.walks:,} walks of {one.steps:,} steps; all have ended, "
              f"at most {one.longest:,} steps after the last fault")  # fmt: skip


if __name__ == "__main__":
    main()
