"""The benchmark of the journal runs, and shows that space grows with the calls and not with their square."""

import json
import subprocess
import sys

from tests.docs.pages import ROOT


def test_a_call_costs_the_same_bytes_however_long_the_conversation_is() -> None:
    command = [sys.executable, "-m", "bench.journal", "--calls", "10,100", "--rounds", "20", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    short, long = found["space"]
    assert long["bytes_per_call"] < 1.1 * short["bytes_per_call"]
    assert long["bytes_of_whole_prompts_per_call"] > 5 * short["bytes_of_whole_prompts_per_call"]
    assert found["worker_microseconds_per_call"] > 0
    assert found["leader_microseconds_per_call"] > 0
