"""Which functions of the code a search, or a few seeds, enter: what is broken elsewhere they cannot notice.

python -m tests.mutants.reach model|simulation N
"""

import ast
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

from tests.model.worlds import LARGE, SMALL, explore
from tests.mutants.table import Mutant
from tests.sim.simulate import simulate

Function = tuple[str, int]
"""Its file, and the line where it begins, decorators included."""


def search(states: int) -> bool:
    """The small worlds, which must be flawless themselves."""
    return all(explore(world, states).states for world in (SMALL, *LARGE.values()))


def play(seeds: int) -> bool:
    """All the seeds, where nothing is wrong with any."""
    return not any(simulate(seed).problems for seed in range(seeds))


MODES: dict[str, Callable[[int], bool]] = {"model": search, "simulation": play}


def entered(act: Callable[[], object], root: Path) -> set[Function]:
    """The functions below a folder that were called."""
    seen: set[CodeType] = set()

    def look(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(look)
    try:
        act()
    finally:
        sys.setprofile(None)
    places = ((Path(code.co_filename), code.co_firstlineno) for code in seen)
    return {(str(file.relative_to(root)), line) for file, line in places if file.is_relative_to(root)}


def broken(mutant: Mutant, root: Path) -> Function | None:
    """The innermost function in which a mutant is; None for what is in none, or no Python."""
    if not mutant.file.endswith(".py"):
        return None
    text = (root / mutant.file).read_text()
    line = text[: text.index(mutant.old.lstrip())].count("\n") + 1
    nodes = (
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    around = [(_first(node), node.end_lineno or 0) for node in nodes]
    first = max((first for first, last in around if first <= line <= last), default=None)
    return None if first is None else (mutant.file, first)


def _first(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def main() -> int:
    logging.disable()
    mode, number = sys.argv[1:]
    sound: list[bool] = []
    found = entered(lambda: sound.append(MODES[mode](int(number))), Path.cwd())
    print(json.dumps(sorted(found)))
    return int(sound != [True])


if __name__ == "__main__":
    sys.exit(main())
