"""The benchmarks of cost print every figure that they promise."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def figures(*call: str):
    command = [sys.executable, BENCH / call[0], *call[1:], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_process_has_its_footprint_beside_the_floors():
    said = figures("footprint.py", "--starts", "1", "--settle", "0.2")
    floors = {"python with nats, redis, pydantic"}
    assert said["idle"].keys() == floors | {"python", "worker", "coordinator", "nats-server", "redis-server"}
    assert said["start"].keys() == floors | {"python -c pass", "worker --help", "coordinator --help"}
    assert all(line["rss_mb"] > 0 for line in said["idle"].values())
    assert all(line["wall_ms"] > 0 for line in said["start"].values())
    assert said["idle"]["worker"]["rss_mb"] < 80


def test_every_board_has_its_cost_beside_the_smallest():
    small, large = figures("board_growth.py", "--boards", "10,300", "--tasks", "100", "--rounds", "1")
    assert (small["artifacts"], large["artifacts"]) == (10, 300)
    assert set(small["cpu_ratio"].values()) == set(small["query_ratio"].values()) == {1.0}
    assert large["cpu_us_per_task"].keys() == {"coordinator", "worker", "nats", "redis", "all"}
    assert large["query_ms"].keys() == {"newest", "of_a_type", "of_a_type_with_a_word"}


def test_a_backlog_has_its_take_over_and_its_cost():
    [said] = figures("backlog.py", "--backlogs", "300", "--tasks", "50")
    assert said["directions"] == 300
    assert 0 < said["takeover_s"] < 60
    assert said["cpu_us_per_task"].keys() == {"coordinator", "worker", "nats", "redis", "all"}
