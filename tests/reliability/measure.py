"""Runs an attack and keeps its figures, with the commit and the machine, in `report.json`.

python -m tests.reliability.measure WHAT [options of the tool]

What: replays, model, simulation, points, crowd, chaos, soak, backlog, board, mutants. Mutants that are played
again take the place of what was seen of them before.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.sim.simulate import simulate

REPORT = Path(__file__).with_name("report.json")
TOOLS = {
    "model": ("-m", "tests.model.worlds"),
    "simulation": ("-m", "tests.sim.campaign"),
    "points": ("-m", "tests.sim.points"),
    "crowd": ("-m", "tests.swarm.crowd"),
    "chaos": ("-m", "tests.chaos.chaos"),
    "soak": ("-m", "tests.chaos.soak"),
    "backlog": ("bench/backlog.py",),
    "board": ("bench/board_growth.py",),
    "mutants": ("-m", "tests.mutants.run"),
}
REPLAYS = 100


def hardware() -> str:
    """What a figure was measured on, without a name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    )


def commit() -> str:
    """The subject of the newest commit: its hash does not survive a rebase."""
    done = subprocess.run(["git", "log", "-1", "--format=%s"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def replays() -> dict[str, object]:
    """Traces of one seed, again and again, half of them in processes with other hash seeds."""
    traces = {simulate(5).trace for _ in range(REPLAYS // 2)}
    for number in range(REPLAYS // 2):
        done = subprocess.run(
            [sys.executable, "-m", "tests.sim.simulate", "--seed", "5"],
            env={**os.environ, "PYTHONHASHSEED": str(number)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        traces.add(done.stdout.splitlines()[0].rpartition(" ")[2])
    return {"seed": 5, "replays": REPLAYS, "traces": len(traces)}


def measure(what: str, arguments: Sequence[str]) -> Any:
    if what == "replays":
        return replays()
    done = subprocess.run(
        [sys.executable, *TOOLS[what], *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def together(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Mutants that were played now, and those that were played before; `at`: where, if not with the others.

    :raises ValueError: when they were not played in the same way.
    """
    kept, new = before["found"], now["found"]
    ways = [(found["states"], found["seeds"]) for found in (kept, new)]
    if ways[0] != ways[1]:
        raise ValueError(f"played with {ways[1]} states and seeds, those before with {ways[0]}")
    mutants = {one["mutant"]: one for one in kept["mutants"]}
    mutants |= {one["mutant"]: {**one, "at": now["commit"]} for one in new["mutants"]}
    return {**before, "found": {**kept, "mutants": list(mutants.values())}}


def main() -> None:
    what, *arguments = sys.argv[1:]
    measured = {"commit": commit(), "hardware": hardware(), "found": measure(what, arguments)}
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report[what] = together(report[what], measured) if what == "mutants" and what in report else measured
    REPORT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
