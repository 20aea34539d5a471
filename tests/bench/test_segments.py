"""The benchmark of long runs: what it counts, on real servers, and its verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
LOG_EVENTS, SEGMENT = 200, 50
BOUNDED = {
    "SWARMBOARD_RETENTION_LOG_EVENTS": str(LOG_EVENTS),
    "SWARMBOARD_RETENTION_SEGMENT_EVENTS": str(SEGMENT),
}
MEANWHILE = 60
"""More events than are appended while a segment is put away."""
SNIPPET = """
import json, sys
from segments import Mark, verdicts, write
from pathlib import Path
marks = [Mark(at, 1000, 400.0, 50.0, 900.0, leader_mb=50.0 + float(sys.argv[1]) * at) for at in range(1, 11)]
marks += [Mark(at, 1000, 400.0, 50.0, live_rows=4, load_ms=1.0, takeover_s=2.5) for at in range(1, 11)]
write(Path(sys.argv[2]), marks)
print(json.dumps(verdicts(marks)))
"""


def bench(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=BENCH,
        env={**os.environ, **BOUNDED},
    )
    assert done.stdout, done.stderr
    return done.stdout


def test_a_short_one_reads_as_many_rows_at_every_take_over_and_keeps_its_log_short():
    said = json.loads(bench("segments.py", "--iterations", 120, "--every", 60, "--json"))
    assert [mark["iterations"] for mark in said["marks"]] == [60, 120] * 2
    for mark in said["marks"]:
        assert LOG_EVENTS <= mark["log_events"] < LOG_EVENTS + SEGMENT + MEANWHILE
        assert mark["live_rows"] in {None, 3, 4}
    assert said["flat"]["live_rows"]
    first, second = (mark["redis_bytes"] for mark in said["marks"][:2])
    assert (first, second > 1_000) == (None, True)


def test_three_megabytes_of_creep_in_ten_thousand_iterations_are_found_and_put_on_the_page(
    tmp_path: Path,
):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\nold\n<!-- end -->\nafter\n")
    assert all(json.loads(bench("-c", SNIPPET, 0.0001, page)).values())
    grows = json.loads(bench("-c", SNIPPET, 0.0003, page))
    assert [name for name, flat in grows.items() if not flat] == ["leader_mb"]
    text = page.read_text()
    assert "| 10 | 1,000 | 400 | 50 | 900 | 50 | 4 | 1 | 2.5 |" in text
    assert "old" not in text
    assert (text[:6], text[-6:]) == ("before", "after\n")
    assert "<svg" in page.with_suffix(".svg").read_text()
