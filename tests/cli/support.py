"""Running the commands as a person or a program would."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import forked

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
    return _run("coordinator", arguments, home, env)


def worker(*arguments: str, home: Path, env: Mapping[str, str] | None = None) -> Answer:
    return _run("worker", arguments, home, env)


def _run(command: str, arguments: tuple[str, ...], home: Path, env: Mapping[str, str] | None) -> Answer:
    done = forked.run([command, *arguments], folder=home, environment=environment(home, env))
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
