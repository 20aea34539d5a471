"""Writes `docs/reliability.md` from `template.md`, `report.json` and `bugs.json`.

python -m tests.reliability.page [--check]
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
Found = Mapping[str, Any]


def page(template: str, report: Found, bugs: Sequence[Found]) -> str:
    parts = {name: _with_origin(write(report[name]["found"]), report[name]) for name, write in PARTS.items()}
    rows = [(bug["what"], bug["by"], bug["fix"]) for bug in bugs]
    return Template(template).substitute(parts, bugs=_table(("error", "found by", "fixed in"), rows))


def _with_origin(text: str, one: Found) -> str:
    return f"{text}\n\nMeasured at “{one['commit']}” on {one['hardware']}."


def _simulation(found: Found) -> str:
    faults, failed = found["faults"], len(found["failed"])
    return (
        f"{found['seeds']:,} seeds, {found['virtual_hours']:g} virtual hours, "
        f"{sum(faults.values()):,} faults: "
        f"**{failed} seeds failed**.\n\n{_counted(faults)}"
    )


def _replays(found: Found) -> str:
    return (
        f"Seed {found['seed']} was played {found['replays']} times, half of them in processes of their own,\n"
        f"each under another hash seed. Different traces: **{found['traces']}**."
    )


def _points(found: Found) -> str:
    return f"{found['tried']:,} of {found['points']:,} points were tried: **{found['failed']} failed**."


def _crowd(found: Found) -> str:
    said = ", ".join(f"{count:,} {word}" for word, count in found["messages"].items())
    return (
        f"{found['silent']:,} of {found['workers']:,} workers fell silent. The last of their "
        f"{found['held']:,} tasks ran elsewhere {found['seconds']:g} s\nlater; "
        f"{found['requeued']:,} tasks were requeued, {found['dispatched']:,} dispatched, "
        f"{found['second_moves']:,} of them twice. Messages from the silence on:\n"
        f"{said}; at most {found['peak_per_second']:,} in a second, beats aside: "
        f"**{len(found['problems'])} problems**."
    )


def _model(found: Found) -> str:
    rows = [
        (
            name,
            one["states"],
            one["transitions"],
            one["depth"],
            one["runs"],
            "yes" if one["complete"] else "no",
        )
        for name, one in found.items()
    ]
    return _table(
        ("world", "states", "steps between them", "longest way", "states of the run", "to its end"), rows
    )


def _chaos(found: Found) -> str:
    faults = found["faults"]
    return (
        f"{found['rounds']:,} rounds, {found['tasks']:,} tasks, {sum(faults.values()):,} faults "
        f"of {len(faults)} classes: **{len(found['failed'])} rounds failed**.\n\n{_counted(faults)}"
    )


def _mutants(found: Found) -> str:
    every: Sequence[Found] = found["mutants"]
    counted = [one for one in every if not one["equivalent"]]
    rows = [(one["mutant"], _tests(one), _word(one["model"]), _seeds(one)) for one in every]
    table = _table(("error", "tests", "search", f"seeds of {found['seeds']}"), rows)
    equal = [f"- *{one['mutant']}*: {one['equivalent']}" for one in every if one["equivalent"]]
    aside = ["", "Nothing can notice these, and no promise breaks:", "", *equal] if equal else []
    noticed = (
        f"**{sum(map(_noticed, counted))} of {len(counted)}** were noticed: "
        f"{_by(counted, 'caught')} by tests, "
        f"{_by(counted, 'model')} by the search of {found['states']:,} states of each world,\n"
        f"{_by(counted, 'seeds')} by {found['seeds']} seeds of the simulation. "
        "— stands where a mode does not enter the function that is broken."
    )
    return "\n".join([noticed, "", table, *aside])


def _noticed(one: Found) -> bool:
    return bool(one["caught"] or one["model"] or one["seeds"])


def _by(mutants: Sequence[Found], mode: str) -> int:
    return sum(bool(one[mode]) for one in mutants)


def _tests(one: Found) -> str:
    return "—" if one["by"] == "not run" else _word(one["caught"])


def _seeds(one: Found) -> str:
    return "—" if one["seeds"] is None else str(one["seeds"])


def _word(noticed: bool | None) -> str:
    return {None: "—", True: "yes", False: "no"}[noticed]


def _counted(faults: Mapping[str, int]) -> str:
    return _table(("fault", "times"), sorted(faults.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


PARTS = {
    "simulation": _simulation,
    "replays": _replays,
    "points": _points,
    "crowd": _crowd,
    "model": _model,
    "chaos": _chaos,
    "mutants": _mutants,
}


def written() -> str:
    """The page as it should be."""
    report, bugs = (json.loads((HERE / name).read_text()) for name in ("report.json", "bugs.json"))
    return page((HERE / "template.md").read_text(), report, bugs)


def main() -> int:
    if "--check" in sys.argv:
        return int(PAGE.read_text() != written())
    PAGE.write_text(written())
    return 0


if __name__ == "__main__":
    sys.exit(main())
