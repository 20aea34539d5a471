"""The soak has a verdict on every figure that it promises."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_a_short_soak_leaves_nothing_behind():
    work = ("--tasks", "300", "--runs", "2", "--tasks-per-run", "100", "--json")
    command = [sys.executable, BENCH / "soak.py", *work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert {row["name"] for row in said["rows"]} >= {
        "coordinator_mb",
        "worker_mb",
        "worker_descriptors",
        "redis_clients",
        "consumers_of_ended_runs",
        "backlog",
        "unsettled",
    }
    assert all(row["holds"] for row in said["rows"])
    assert len(said["samples"]) == 4
