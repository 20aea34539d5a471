"""The wheel holds what it must, and its commands work from anywhere."""

import json
import re
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from coordinator.cli import VERBS
from protocol.exits import Exit
from tests.packaging.conftest import ROOT, Installed

PACKAGES = ("protocol", "blackboard", "coordinator", "agents")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_source_file_is_in_the_wheel_and_nothing_else(files: frozenset[str]) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    ours = {name for name in files if ".dist-info/" not in name}
    assert ours == sources
    assert "blackboard/append.lua" in ours


def test_every_package_says_that_it_is_typed(files: frozenset[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= files


def test_the_licence_and_the_readme_travel_with_the_wheel(wheel: Path, files: frozenset[str]) -> None:
    (licence,) = (name for name in files if name.endswith("/licenses/LICENSE"))
    (metadata,) = (name for name in files if name.endswith("/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        described = Parser().parsestr(archive.read(metadata).decode())
    assert described["Name"] == PROJECT["name"]
    assert described["License-Expression"] == PROJECT["license"]
    assert (ROOT / "README.md").read_text().splitlines()[0] in described.get_payload()


def test_dependencies_are_bounded_above_and_below() -> None:
    extras = PROJECT["optional-dependencies"].values()
    for requirement in (*PROJECT["dependencies"], *(one for extra in extras for one in extra)):
        assert re.search(r">=[\d.]+,<[\d.]+", requirement), requirement


def test_every_dependency_is_pinned_by_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==[\w.]+", line) for line in lines]
    assert all(pins), "a constraint names something else than a version"
    pinned = {canonical(pin[1]) for pin in pins if pin}
    extras = PROJECT["optional-dependencies"].values()
    for requirement in (*PROJECT["dependencies"], *(one for extra in extras for one in extra)):
        assert canonical(re.split(r"[\[>=<;\s]", requirement)[0]) in pinned, requirement


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_commands_run_from_another_folder(installed: Installed) -> None:
    said = installed.run("coordinator", "--help").stdout
    assert all(re.search(rf"^  {verb} ", said, re.MULTILINE) for verb in VERBS)
    assert "--concurrency" in installed.run("worker", "--help").stdout
    for program in ("coordinator", "worker"):
        assert PROJECT["version"] in installed.run(program, "--version").stdout


def test_every_verb_explains_itself(installed: Installed) -> None:
    """Each in the same process: what is tested is that its module is there and can be imported."""
    script = (
        "import sys; from coordinator.cli import VERBS, run; sys.exit(any(run([v, '--help']) for v in VERBS))"
    )
    said = installed.run("python", "-c", script).stdout
    assert said.count("Usage: coordinator ") == len(VERBS)


def test_what_is_installed_is_the_wheel(installed: Installed) -> None:
    where = installed.run("python", "-c", "import coordinator; print(coordinator.__file__)").stdout
    assert where.startswith(str(installed.scripts.parent))


def test_the_schema_is_printed_without_a_checkout(installed: Installed) -> None:
    published = json.loads((ROOT / "docs/schemas/swarmboard.schema.json").read_text())
    assert json.loads(installed.run("coordinator", "schema").stdout) == published


def test_without_servers_the_commands_say_what_is_missing(installed: Installed) -> None:
    done = installed.run("coordinator", "runs", "--redis-url", "redis://127.0.0.1:1", check=False)
    assert done.returncode == Exit.UNREACHABLE
    assert "hint: " in done.stderr
