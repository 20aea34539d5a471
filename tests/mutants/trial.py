"""What notices a mutant: tests of behaviour, a search of small worlds, seeds of the simulation.

Each is asked in processes of its own, against a copy of the tree, and may compute for so long: a mutant that
goes on without an end has been noticed. The clock says less: others may use the machine meanwhile.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.reach import Function, broken
from tests.mutants.table import Mutant

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "blackboard", "coordinator", "agents", "tests")
MODES = ("tests", "model", "simulation")
MODEL_STATES = 20_000
SECONDS = 240
"""Of computing, in a suite or a search; a seed has a limit of its own."""
WALL_SECONDS = 1_800
"""For what waits instead of computing."""
ENDLESS = (-signal.SIGXCPU, -signal.SIGKILL)
"""Exit codes of what had to be stopped."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
Reach = Mapping[str, frozenset[Function]]
"""By mode, the functions that it enters."""


@dataclass(frozen=True)
class Verdict:
    mutant: str
    caught: bool
    by: str
    """The first test that failed; how the suite ended if none did."""
    seconds: float
    model: bool | None = None
    """Whether the search found it; None where it was not asked, or does not go there."""
    seeds: int | None = None
    """How many seeds of the simulation failed."""
    equivalent: str = ""
    """Why nothing can notice it."""

    @property
    def noticed(self) -> bool:
        return self.caught or bool(self.model) or bool(self.seeds)


def judge(
    mutant: Mutant,
    suite: Sequence[str] = (),
    modes: Sequence[str] = ("tests",),
    seeds: int = 0,
    reach: Reach | None = None,
) -> Verdict:
    """Runs the mutant's suite, or another, against a copy of the tree with this mutant in it."""
    where = broken(mutant, ROOT)
    asked = [mode for mode in modes if mode == "tests" or reach is None or where in reach[mode]]
    with tempfile.TemporaryDirectory(prefix="swarmboard-mutant-", ignore_cleanup_errors=True) as folder:
        copy = copy_tree(Path(folder))
        mutant.apply(copy)
        began = time.monotonic()
        caught, by = run_suite(copy, suite or mutant.suite) if "tests" in asked else (False, "not run")
        model = failed = None
        if "model" in asked:
            model = _run(copy, "tests.model.worlds", "--states", str(MODEL_STATES)).returncode != 0
        if "simulation" in asked:
            done = _run(copy, "tests.mutants.seeds", str(seeds), limited=False)
            failed = len(json.loads(done.stdout)) if done.stdout else seeds
        seconds = round(time.monotonic() - began, 1)
        return Verdict(mutant.name, caught, by, seconds, model, failed, mutant.equivalent)


def reach_of(tree: Path, modes: Sequence[str], seeds: int) -> Reach:
    """Where the modes go in a tree without a mutant.

    :raises RuntimeError: when they find something wrong there.
    """
    found: dict[str, frozenset[Function]] = {}
    for mode, number in (("model", MODEL_STATES), ("simulation", seeds)):
        if mode in modes:
            done = _run(tree, "tests.mutants.reach", mode, str(number))
            if done.returncode:
                raise RuntimeError(f"the tree itself fails in the {mode}:\n{done.stdout}\n{done.stderr}")
            found[mode] = frozenset((file, line) for file, line in json.loads(done.stdout))
    return found


def copy_tree(to: Path) -> Path:
    """The packages and the tests, without what was compiled."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
    shutil.copytree(ROOT / "tests/mutants", to / "tests/mutants", ignore=shutil.ignore_patterns("test_*"))
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def run_suite(tree: Path, suite: Sequence[str]) -> tuple[bool, str]:
    """Whether a test of the tree fails, and which."""
    options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.mutants.quick")
    done = _run(tree, "pytest", *options, *suite)
    if done.returncode in ENDLESS:
        return True, f"no end within {SECONDS} s of computing"
    found = FAILED.search(done.stdout)
    if done.returncode > 1 and not found:
        raise RuntimeError(f"the suite did not run:\n{done.stdout}\n{done.stderr}")
    return done.returncode != 0, found.group(1) if found else "all tests passed"


def _run(tree: Path, module: str, *arguments: str, limited: bool = True) -> subprocess.CompletedProcess[str]:
    """A module of the copy; one that does not end has failed, and said nothing."""
    limit = f"ulimit -t {SECONDS}; " if limited else ""
    command = ["sh", "-c", f'{limit}exec "$@"', "sh", sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, ENDLESS[0], "", "")
