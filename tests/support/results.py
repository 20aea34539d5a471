"""What a long attack did so far: a file of lines that it adds to, so that it can be cut and go on."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


def commit() -> str:
    """Of the tree that is attacked; `+` where it holds changes."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


class Results:
    """Lines by the first of their seeds and how many there are; those of other commits do not count."""

    def __init__(self, path: Path | None, commit: str) -> None:
        self._path = path
        self._commit = commit
        self.done: dict[tuple[int, int], Line] = {}
        if path is not None and path.exists():
            lines = map(json.loads, path.read_text().splitlines())
            self.done = {_key(one): one for one in lines if one["commit"] == commit}

    def add(self, one: Line) -> None:
        self.done[_key(one)] = one
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps({**one, "commit": self._commit}) + "\n")


def _key(one: Line) -> tuple[int, int]:
    return one["first"], one["seeds"]
