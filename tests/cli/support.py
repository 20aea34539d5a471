"""Running the commands as a person or a program would."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without any settings of a swarm, and with a home of the test's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SWARMBOARD_", "XDG_"))}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **(extra or {})}


def coordinator(*arguments: str, home: Path, env: Mapping[str, str] | None = None) -> Answer:
    return _run("coordinator.cli", arguments, home, env)


def worker(*arguments: str, home: Path, env: Mapping[str, str] | None = None) -> Answer:
    return _run("agents.cli", arguments, home, env)


def _run(module: str, arguments: tuple[str, ...], home: Path, env: Mapping[str, str] | None) -> Answer:
    script = f"from {module} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=home,
        env=environment(home, env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
