"""Long attacks: in processes side by side, and a file of what they did, to go on from when they were cut."""

import json
import subprocess
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]
BLOCK = 20
"""Numbers that make a line."""
BLOCKS_PER_PROCESS = 25
"""Then processes begin anew, for what they hold on to; `max_tasks_per_child` can hang (CPython 115634)."""


def kept(doc: str | None) -> ArgumentParser:
    """What every long attack may be told."""
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="file to go on from: what is in it is not done again")
    parser.add_argument("--done", action="store_true", help="only report on what the file of results holds")
    parser.add_argument("--json", action="store_true", help="print an object at the end")
    return parser


def seeded(doc: str | None) -> ArgumentParser:
    """What an attack may be told whose every step is drawn from a seed."""
    parser = kept(doc)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--brief", action="store_true", help="say which seeds failed, and nothing about them")
    return parser


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


def attack(results: Results, block: Callable[[range], Line], numbers: range, jobs: int) -> Sequence[Line]:
    """Does what is not there yet; all that is there then."""
    parts = [numbers[at : at + BLOCK] for at in range(0, len(numbers), BLOCK)]
    wanted = {(part.start, len(part)): part for part in parts}
    for one in _side_by_side(block, [part for key, part in wanted.items() if key not in results.done], jobs):
        results.add(one)
    return [results.done[key] for key in wanted]


def _side_by_side(block: Callable[[range], Line], parts: Sequence[range], jobs: int) -> Iterator[Line]:
    if jobs == 1:
        yield from map(block, parts)
        return
    together = jobs * BLOCKS_PER_PROCESS
    for at in range(0, len(parts), together):
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            yield from pool.map(block, parts[at : at + together])
