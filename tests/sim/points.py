"""Every point at which a process may die between two calls: one simulation for each.

A run without such a death is looked at first: which process makes which calls, and how often. It has a worker
that dies and a leader that dies, a second run that is cancelled, logs that are archived and journals that are
condensed; so the points lie in submit, dispatch, claim, journal, commit, reassign, fail-over, archive,
condense and cancel.

python -m tests.sim.points [--every N]
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from tests.sim import machine
from tests.sim.plan import Fault
from tests.sim.simulate import Outcome, described, simulate

SEED = 4
SCENE = (Fault("moment", "w1", "kill", 6.0), Fault("moment", "c1", "kill", 12.0))
PLACES = (
    "store.acquire", "store.load", "store.append", "store.release", "store.finish", "store.rows",
    "store.log", "store.put",
    "bus.ensure", "bus.publish_all tasks", "bus.request claim", "bus.reply claim", "bus.request record",
    "bus.reply record", "bus.reply cancel", "bus.emit discoveries", "bus.publish discoveries", "bus.ack",
    "bus.emit control", "bus.publish dead", "bus.delete_consumer",
)  # fmt: skip
SETTINGS = machine.SETTINGS.model_copy(
    update={
        "retention": machine.SETTINGS.retention.model_copy(
            update={"log_events": 20, "segment_events": 20, "journals": 2}
        )
    }
)
"""Logs are archived, and journals condensed, soon."""


def _simulated(*more: Fault) -> Outcome:
    return simulate(SEED, (*SCENE, *more), SETTINGS)


def points() -> Sequence[Fault]:
    """Before each call, and after it."""
    calls = _simulated().calls
    return [
        Fault("call", process, f"{act}: {place}", number)
        for (process, place), count in sorted(calls.items())
        for number in range(1, count + 1)
        for act in ("kill", "kill after")
        if place in PLACES
    ]


def die_at(point: Fault) -> Outcome:
    """The scene, in which a process dies at this point, and is started again."""
    return _simulated(point)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="only every so many points")
    parser.add_argument("--json", action="store_true", help="print an object instead of a line")
    options = parser.parse_args()
    logging.disable()  # what goes wrong goes wrong on purpose
    every = points()
    chosen = every[:: options.every]
    failed = 0
    for point in chosen:
        outcome = die_at(point)
        if outcome.problems:
            failed += 1
            print(described(outcome), file=sys.stderr, flush=True)
    report = {"points": len(every), "tried": len(chosen), "failed": failed}
    print(json.dumps(report) if options.json else f"{len(chosen):,} points: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
