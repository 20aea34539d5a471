"""Finding agents by module, attribute and entry point."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from agents import registry
from agents.agent import agent
from agents.registry import load_agents
from protocol.errors import InvalidAgent, InvalidSettings

SAMPLE = "tests.worker.sample_agents"


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text("from agents.agent import Discovery, agent\n" + text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_module_offers_all_the_agents_that_it_declares() -> None:
    assert list(load_agents([SAMPLE])) == ["echo", "nap", "block", "stuck", "count"]


def test_an_attribute_is_one_agent_and_naming_it_twice_does_no_harm() -> None:
    assert list(load_agents([f"{SAMPLE}:echo", f"{SAMPLE}:nap", f"{SAMPLE}:echo"])) == ["echo", "nap"]


def test_entry_points_are_found_by_name_and_all_of_them_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("sample", SAMPLE, registry.GROUP),
            EntryPoint("sleeper", f"{SAMPLE}:nap", registry.GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    assert list(load_agents(["sleeper"])) == ["nap"]
    assert len(load_agents([])) == 5


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("no_such_module", "neither a module nor an entry point"),
        (f"{SAMPLE}:missing", "does not exist"),
        (f"{SAMPLE}:time", "is a module, not an Agent"),
        ("json", "declares no agent"),
    ],
)
def test_a_reference_that_leads_nowhere_says_so(reference: str, problem: str) -> None:
    with pytest.raises(InvalidSettings, match=problem):
        load_agents([reference])


def test_a_module_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = module(tmp_path, monkeypatch, "broken_agents", "raise ValueError('no key')\n")
    with pytest.raises(InvalidSettings, match="ValueError: no key"):
        load_agents([broken])
    needy = module(tmp_path, monkeypatch, "needy_agents", "import not_installed_anywhere\n")
    with pytest.raises(InvalidSettings, match="not_installed_anywhere"):
        load_agents([needy])


def test_two_agents_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = module(
        tmp_path, monkeypatch, "other_agents", "@agent('echo')\nasync def echo(context): return Discovery()\n"
    )
    with pytest.raises(InvalidAgent, match="two agents have this name"):
        load_agents([SAMPLE, other])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("@agent('odd', runs_in='thread')\nasync def odd(context): return Discovery()\n", "runs in the loop"),
        ("odd = agent('odd', runs_in='process')(lambda context: Discovery())\n", "top of a module"),
    ],
)
def test_an_agent_that_cannot_run_where_it_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    odd = module(tmp_path, monkeypatch, "odd_agents", text)
    with pytest.raises(InvalidAgent, match=problem):
        load_agents([odd])


ECHO = "@agent('{name}'{more})\nasync def {name}(context):\n    return Discovery()\n"


def build_of(reference: str, **told: object) -> tuple[str, tuple[str, ...]]:
    (found,) = load_agents([reference], **told).values()
    return found.build, found.compatible


def test_a_build_is_a_digest_of_the_source_unless_the_worker_or_the_agent_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = module(tmp_path, monkeypatch, "plain", ECHO.format(name="one", more=""))
    again = module(tmp_path, monkeypatch, "again", ECHO.format(name="one", more=""))
    other = module(tmp_path, monkeypatch, "other", ECHO.format(name="one", more="") + "# more\n")
    declared = ECHO.format(name="two", more=", build='7', compatible=['6', '*']")
    own = module(tmp_path, monkeypatch, "own", declared)
    (digest, _), _, _ = builds = build_of(plain), build_of(again), build_of(other)
    assert digest.startswith("source-")
    assert [one == (digest, ()) for one in builds] == [True, True, False]
    assert build_of(plain, build="v8", compatible=["v7"]) == ("v8", ("v7",))
    assert build_of(own, build="v8", compatible=["v7", "6"]) == ("7", ("6", "*", "v7"))


def test_the_build_of_a_package_follows_from_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    module(tmp_path / "pack", monkeypatch, "__init__", ECHO.format(name="one", more=""))
    helper = tmp_path / "pack" / "deep" / "helper.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pack", raising=False)
    seen = []
    for text in ("x = 1", "x = 2", "x = 1"):
        helper.write_text(text)
        seen.append(build_of("pack")[0])
    assert seen[0] == seen[2] != seen[1]


@pytest.mark.parametrize("more", ["build='a b'", "build='*'", "compatible=['a/b']"])
def test_a_build_that_cannot_be_one_is_refused(more: str) -> None:
    with pytest.raises(InvalidAgent, match="is no build"):
        eval(f"agent('one', {more})", {"agent": agent})
