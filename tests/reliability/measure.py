"""Runs an attack and keeps its figures, with the commit and the machine, in `report.json`.

python -m tests.reliability.measure replays|model|simulation|points|crowd|chaos|mutants [options of the tool]
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.sim.simulate import simulate

REPORT = Path(__file__).with_name("report.json")
TOOLS = {
    "model": "tests.model.worlds",
    "simulation": "tests.sim.campaign",
    "points": "tests.sim.points",
    "crowd": "tests.swarm.crowd",
    "chaos": "tests.chaos.chaos",
    "mutants": "tests.mutants.run",
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


def measure(what: str, arguments: Sequence[str]) -> object:
    if what == "replays":
        return replays()
    done = subprocess.run(
        [sys.executable, "-m", TOOLS[what], *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def main() -> None:
    what, *arguments = sys.argv[1:]
    measured = {"commit": commit(), "hardware": hardware(), "found": measure(what, arguments)}
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report[what] = measured
    REPORT.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
