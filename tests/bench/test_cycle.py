"""The benchmark of the task cycle: its floor stays honest, and its figures are complete."""

import ast
import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
OURS = {"protocol", "blackboard", "coordinator", "agents"}


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_the_floors_are_short_and_import_nothing_of_ours() -> None:
    floors = sorted(BENCH.glob("floor*.py"))
    assert len(floors) == 3
    for file in floors:
        assert not {name.partition(".")[0] for name in imported(file)} & OURS
        assert len(file.read_text().splitlines()) <= 150


def test_every_contender_runs_and_every_figure_is_printed() -> None:
    load = ["--workers", "2", "--in-flight", "32", "--tasks", "200", "--rounds", "1"]
    command = [sys.executable, BENCH / "cycle.py", *load, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    [line] = json.loads(done.stdout)
    assert (line["workers"], line["in_flight"]) == (2, 32)
    for figure in (
        "tasks_per_s",
        "floor_tasks_per_s",
        "floor_with_claim_tasks_per_s",
        "floor_grouped_tasks_per_s",
        "ratio",
        "p50_ms",
        "p99_ms",
    ):
        assert line[figure] > 0
    assert set(line["cpu_us_per_task"]) == {"coordinator", "worker", "nats", "redis"}
