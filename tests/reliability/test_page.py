"""The page about reliability says what the tools reported."""

import json
import subprocess

import pytest

from tests.reliability.measure import together
from tests.reliability.page import HERE, PAGE, PARTS, written

BUGS = json.loads((HERE / "bugs.json").read_text())
REPORT = json.loads((HERE / "report.json").read_text())


def test_the_page_is_what_the_report_makes_of_it() -> None:
    assert PAGE.read_text() == written(), "write it anew: python -m tests.reliability.page"


def test_every_attack_has_reported_and_nothing_failed() -> None:
    assert set(REPORT) == set(PARTS)
    assert REPORT["replays"]["found"]["traces"] == 1
    for name in ("simulation", "chaos"):
        assert REPORT[name]["found"]["failed"] == []
    assert REPORT["points"]["found"]["failed"] == 0
    assert REPORT["crowd"]["found"]["problems"] == []
    assert REPORT["soak"]["found"]["failed"] == []
    assert [one["name"] for one in REPORT["soak"]["found"]["figures"] if not one["holds"]] == []
    for name in ("backlog", "board"):
        assert [
            one["cpu_ratio"]["all"] for one in REPORT[name]["found"] if one["cpu_ratio"]["all"] > 1.2
        ] == []


def test_mutants_that_are_played_again_take_the_place_of_what_was_seen_before() -> None:
    def played(commit: str, **caught: bool) -> dict:
        mutants = [{"mutant": name, "caught": one} for name, one in caught.items()]
        return {"commit": commit, "found": {"states": 1, "seeds": 1, "mutants": mutants}}

    both = together(played("old", a=False, b=True), played("new", a=True, c=True))
    assert both["commit"] == "old"
    assert both["found"]["mutants"] == [
        {"mutant": "a", "caught": True, "at": "new"},
        {"mutant": "b", "caught": True},
        {"mutant": "c", "caught": True, "at": "new"},
    ]


def test_the_fixes_that_are_named_are_in_the_history() -> None:
    done = subprocess.run(
        ["git", "log", "--format=%s"], cwd=HERE, capture_output=True, text=True, check=False
    )
    if done.returncode or len(done.stdout.splitlines()) < 50:
        pytest.skip("the history is not here")
    assert {bug["fix"] for bug in BUGS} <= set(done.stdout.splitlines())
