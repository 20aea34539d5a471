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


def _soak(found: Found) -> str:
    rows = [
        (one["name"].replace("_", " "), *(f"{one[key]:,g}" for key in ("first", "last", "peak", "bound")))
        for one in found["figures"]
    ]
    grown = sum(not one["holds"] for one in found["figures"])
    return (
        f"{found['minutes']:g} minutes, {found['runs']:,} runs, {found['tasks']:,} tasks, "
        f"{sum(found['faults'].values()):,} faults of {len(found['faults'])} classes: "
        f"**{len(found['failed'])} promises broken, {grown} figures grew**.\n\n"
        + _table(("held", "median of the first third", "of the last third", "peak", "may be"), rows)
    )


def _backlog(found: Sequence[Found]) -> str:
    rows = [
        (
            one["directions"],
            f"{one['takeover_s']:,g}",
            f"{one['takeover_cpu_s']:,g}",
            one["cpu_us_per_task"]["coordinator"],
            one["cpu_us_per_task"]["redis"],
            one["cpu_us_per_task"]["all"],
            f"{one['cpu_ratio']['all']:.2f}",
            one["leader_bytes_per_direction"],
            one["redis_bytes_per_direction"],
        )
        for one in found
    ]
    head = (
        "waiting", "take-over, s", "of computing", "µs per task: coordinator", "Redis", "all processes",
        "ratio",
        "leader, bytes for each", "Redis, bytes for each",
    )  # fmt: skip
    return _table(head, rows)


def _board(found: Sequence[Found]) -> str:
    rows = [
        (
            one["artifacts"],
            one["cpu_us_per_task"]["coordinator"],
            one["cpu_us_per_task"]["redis"],
            one["cpu_us_per_task"]["all"],
            f"{one['cpu_ratio']['all']:.2f}",
            *(f"{one['query_ms'][name]:.2f}" for name in ("newest", "of_a_type", "of_a_type_with_a_word")),
        )
        for one in found
    ]
    head = (
        "artifacts", "µs per task: coordinator", "Redis", "all processes", "ratio",
        "query of the newest, ms", "of a type", "with a word",
    )  # fmt: skip
    return _table(head, rows)


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
        for name, one in found["worlds"].items()
    ]
    walks = [
        (name, one["walks"], one["steps"], one["deepest"], one["longest"])
        for name, one in found["walks"].items()
    ]
    states = sum(one["states"] for one in found["worlds"].values())
    seconds = sum(one["seconds"] for one in found["worlds"].values())
    return "\n\n".join([
        f"{states:,} states in {seconds:.0f} s of computing:",
        _table(
            ("world", "states", "steps between them", "longest way", "states of the run", "to its end"), rows
        ),
        f"{sum(one['walks'] for one in found['walks'].values()):,} walks, of which **all have ended**:",
        _table(("world", "walks", "steps", "most with faults", "most without, to the end"), walks),
    ])  # fmt: skip


def _chaos(found: Found) -> str:
    faults = found["faults"]
    return (
        f"{found['rounds']:,} rounds, {found['tasks']:,} tasks, {sum(faults.values()):,} faults "
        f"of {len(faults)} classes: **{len(found['failed'])} rounds failed**.\n"
        f"{found['amid']:,} executions came to their end while faults happened, the others later."
        f"\n\n{_counted(faults)}"
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
    return "\n".join([noticed, "", table, *aside, *_played_again(every)])


def _played_again(mutants: Sequence[Found]) -> list[str]:
    """Where those were played that were not played with the others."""
    commits = sorted({one["at"] for one in mutants if "at" in one})
    names = {at: [one["mutant"] for one in mutants if one.get("at") == at] for at in commits}
    lines = [f"Played later, at “{at}”: {'; '.join(names[at])}." for at in commits]
    return ["", *lines] if lines else []


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
    "soak": _soak,
    "backlog": _backlog,
    "board": _board,
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
