"""Breaks one decision at a time in a copy of the tree, and reports what notices.

The mode `tests` runs the tests of behaviour, `model` searches small worlds, `simulation` plays seeds and says
how many of them fail. The latter two are asked only where they enter the function that is broken.

python -m tests.mutants.run [--only WORDS]… [--jobs N] [--modes tests,model,simulation] [--seeds N]
                            [--results FILE] [--done] [--json]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutants.parting import PARTING
from tests.mutants.sharing import SHARING
from tests.mutants.shell import SHELL
from tests.mutants.table import MUTANTS
from tests.mutants.trial import MODEL_STATES, MODES, Reach, Verdict, copy_tree, judge, reach_of, run_suite
from tests.mutants.waiting import WAITING
from tests.support.results import Results, commit, kept

ALL = (*MUTANTS, *SHELL, *SHARING, *PARTING, *WAITING)
ENOUGH = 0.95
"""The share of mutants that must be noticed, those aside that nothing can notice."""


def report(verdicts: Sequence[Verdict], seeds: int) -> dict[str, Any]:
    return {"states": MODEL_STATES, "seeds": seeds, "mutants": [asdict(one) for one in verdicts]}


def main() -> int:
    parser = kept(__doc__)
    parser.add_argument("--only", action="append", metavar="WORDS", help="mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--modes", default="tests", help=f"of {','.join(MODES)}")
    parser.add_argument("--seeds", type=int, default=10, help="of the simulation")
    options = parser.parse_args()
    results = Results(options.results, commit())
    wanted: Sequence[str] = options.only or [""]
    chosen = [number for number, mutant in enumerate(ALL) if any(words in mutant.name for words in wanted)]
    left = [number for number in chosen if (number, options.seeds) not in results.done]
    if left and not options.done:
        modes = options.modes.split(",")
        reach = _reach_of_the_tree({part for number in left for part in ALL[number].suite}, modes, options)
        with ThreadPoolExecutor(options.jobs) as pool:
            trial = partial(judge, modes=modes, seeds=options.seeds, reach=reach)
            for number, verdict in zip(left, pool.map(trial, [ALL[at] for at in left]), strict=True):
                results.add({"first": number, "seeds": options.seeds, "verdict": asdict(verdict)})
                print(_said(verdict, options.seeds), file=sys.stderr, flush=True)
    verdicts = [Verdict(**results.done[key]["verdict"]) for key in sorted(results.done) if key[0] in chosen]
    counted = [one for one in verdicts if not one.equivalent]
    caught = sum(one.noticed for one in counted)
    if options.json:
        print(json.dumps(report(verdicts, options.seeds), indent=2))
    else:
        print(f"{caught} of {len(counted)} caught ({caught / max(1, len(counted)):.0%})")
    return 0 if caught >= ENOUGH * len(counted) else 1


def _reach_of_the_tree(suites: Iterable[str], modes: Sequence[str], options: argparse.Namespace) -> Reach:
    """Where modes go in the tree itself, in which nothing fails."""
    with tempfile.TemporaryDirectory(prefix="swarmboard-mutant-") as folder:
        tree = copy_tree(Path(folder))
        broken, by = run_suite(tree, sorted(suites)) if "tests" in modes else (False, "")
        if broken:
            sys.exit(f"the tree itself fails {by}")
        return reach_of(tree, modes, options.seeds)


def _said(verdict: Verdict, seeds: int) -> str:
    word = "caught  " if verdict.noticed else "SURVIVED"
    more = "" if verdict.model is None else f"  model: {'caught' if verdict.model else 'no'}"
    more += "" if verdict.seeds is None else f"  seeds: {verdict.seeds} of {seeds}"
    return f"{word} {verdict.seconds:6.1f} s  {verdict.mutant:58} {verdict.by}{more}"


if __name__ == "__main__":
    sys.exit(main())
