"""The README's promise for whoever kills a run: it goes on, and what was finished stays finished."""

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.docs.pages import ROOT, blocks
from tests.docs.session import SCRIPTS, Session

RUN = ["coordinator", "run", "What wakes a waiting worker?", "--corpus", "docs", "--workers", "2"]
RESUME = "coordinator run --resume"


def test_a_killed_run_goes_on_with_the_command_of_the_readme(tmp_path: Path) -> None:
    assert any(block.text.strip() == RESUME for block in blocks(ROOT / "README.md"))
    reader = Session(tmp_path, SCRIPTS)
    log = tmp_path / "first.log"
    with log.open("wb") as output:
        first = subprocess.Popen(
            [*RUN, "--budget", "tasks=100"],
            cwd=reader.folder,
            env=reader.environment,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while "explored" not in log.read_text():
        assert first.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    run = log.read_text().split()[1].rstrip(":")
    again = subprocess.run(
        [*RESUME.split(), "--json"],
        cwd=reader.folder,
        env=reader.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert f"run {run}: What wakes a waiting worker?" in again.stderr
    assert f'"run": "{run}"' in again.stdout
    assert '"status": "done"' in again.stdout
