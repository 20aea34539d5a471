"""Breaks one decision at a time in a copy of the tree, and reports which test notices.

The mode `tests` runs the tests of behaviour, `model` searches small worlds, `simulation` plays seeds and says
how many of them fail.

python -m tests.mutants.run [--only WORDS] [--jobs N] [--modes tests,model,simulation] [--seeds N] [--json]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.mutants.sharing import SHARING
from tests.mutants.shell import SHELL
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "blackboard", "coordinator", "agents", "tests")
ALL = (*MUTANTS, *SHELL, *SHARING)
MODES = ("tests", "model", "simulation")
MODEL_STATES = 20_000
TIMEOUT_SECONDS = 240
"""A mutant that makes the tests hang has been noticed."""
ENDLESS = -1000
"""The exit code, which no process has, of what did not end in that time."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    mutant: str
    caught: bool
    by: str
    """The first test that failed; how the suite ended if none did."""
    seconds: float
    model: bool | None = None
    """Whether the search found it; None where it was not asked."""
    seeds: int | None = None
    """How many seeds of the simulation failed."""


def judge(
    mutant: Mutant, suite: Sequence[str] = (), modes: Sequence[str] = ("tests",), seeds: int = 0
) -> Verdict:
    """Runs the mutant's suite, or another, against a copy of the tree with this mutant in it."""
    with tempfile.TemporaryDirectory(prefix="swarmboard-mutant-", ignore_cleanup_errors=True) as folder:
        copy = copy_tree(Path(folder))
        mutant.apply(copy)
        began = time.monotonic()
        caught, by = run_suite(copy, suite or mutant.suite) if "tests" in modes else (False, "not run")
        model = failed = None
        if "model" in modes:
            model = _run(copy, "tests.model.worlds", "--states", str(MODEL_STATES)).returncode != 0
        if "simulation" in modes:
            done = _run(copy, "tests.sim.campaign", "--seeds", str(seeds), "--json", "--brief")
            failed = len(json.loads(done.stdout)["failed"]) if done.stdout else seeds
        return Verdict(mutant.name, caught, by, round(time.monotonic() - began, 1), model, failed)


def _run(tree: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A module of the copy; one that does not end has failed, and said nothing."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, ENDLESS, "", "")


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
    if done.returncode == ENDLESS:
        return True, f"no end within {TIMEOUT_SECONDS} s"
    found = FAILED.search(done.stdout)
    if done.returncode > 1 and not found:
        raise RuntimeError(f"the suite did not run:\n{done.stdout}\n{done.stderr}")
    return done.returncode != 0, found.group(1) if found else "all tests passed"


def _noticed(verdict: Verdict) -> bool:
    return verdict.caught or bool(verdict.model) or bool(verdict.seeds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="WORDS", help="mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--modes", default="tests", help=f"of {','.join(MODES)}")
    parser.add_argument("--seeds", type=int, default=10, help="of the simulation")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of lines")
    options = parser.parse_args()
    chosen = [mutant for mutant in ALL if options.only in mutant.name]
    modes = options.modes.split(",")
    with tempfile.TemporaryDirectory(prefix="swarmboard-mutant-") as folder:
        suites = sorted({part for mutant in chosen for part in mutant.suite})
        broken, by = run_suite(copy_tree(Path(folder)), suites) if "tests" in modes else (False, "")
    if broken:
        print(f"the tree itself fails {by}", file=sys.stderr)
        return 2
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(partial(judge, modes=modes, seeds=options.seeds), chosen):
            verdicts.append(verdict)
            if not options.json:
                word = "caught  " if _noticed(verdict) else "SURVIVED"
                more = "" if verdict.model is None else f"  model: {'caught' if verdict.model else 'no'}"
                more += "" if verdict.seeds is None else f"  seeds: {verdict.seeds} of {options.seeds}"
                print(f"{word} {verdict.seconds:6.1f} s  {verdict.mutant:58} {verdict.by}{more}", flush=True)
    caught = sum(map(_noticed, verdicts))
    if options.json:
        print(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    else:
        print(f"{caught} of {len(verdicts)} caught ({caught / max(1, len(verdicts)):.0%})")
    return 0 if caught >= 0.95 * len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
