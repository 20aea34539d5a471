"""What README and docs name exists: files, tests, commands, options, settings, exit codes."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from agents.cli import command as worker_command
from agents.settings import WorkerSettings
from coordinator.cli import VERBS, group
from coordinator.settings import Settings
from protocol.exits import Exit
from protocol.settings import GROUPS, environment_name, options, shown
from tests.docs.pages import PAGES, ROOT, blocks, inline_code, name_of, prose, tables

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"^(?:[\w.-]+/)+$|^(?:[\w.-]+/)*[\w-]+\.(?:md|py|toml|ya?ml|json|lua|conf|example)$")
TEST = re.compile(r"^(?P<path>tests/[\w/.]+\.py)(?:::(?P<name>test_\w+))?$")
COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*(?P<program>coordinator|worker)(?P<rest> [^|>&;\n]+)", re.MULTILINE)
MADE_BY_THE_READER = frozenset(
    {"swarmboard.toml", "swarmboard/config.toml", "report.md"}
    | {block.notes["file"] for page in PAGES for block in blocks(page) if "file" in block.notes}
)

FOLDERS = ("protocol", "blackboard", "coordinator", "agents", "compose", "docs", "tests", "bench")

SETTINGS = {name: field for model in (Settings, WorkerSettings) for name, *_, field in options(model)}

page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in set(_anchors(target)), f"{link}: no such heading"


def _anchors(page: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@page
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    for code in inline_code(page):
        if found := TEST.match(code):
            source = ROOT / found["path"]
            assert source.exists(), code
            assert not found["name"] or f"def {found['name']}(" in source.read_text(), code
        elif PATH.match(code) and code not in MADE_BY_THE_READER:
            found = [path for folder in FOLDERS for path in (ROOT / folder).rglob(code)]
            assert found or (ROOT / code).exists() or (page.parent / code).exists(), f"there is no {code}"


@page
def test_commands_and_their_options_exist(page: Path) -> None:
    written = [block.text.replace("\\\n", " ") for block in blocks(page) if block.language == "sh"]
    for text in (*written, *inline_code(page)):
        for found in COMMAND.finditer(re.sub(r'"[^"]*"', "", text)):
            _check_command(found["program"], found["rest"].split())


def _check_command(program: str, words: list[str]) -> None:
    command: click.Command = worker_command
    if program == "coordinator":
        verbs = [word for word in words if word in VERBS]
        command = import_module(f"coordinator.commands.{verbs[0]}").command if verbs else group
        assert verbs or all(word.startswith("-") for word in words), (
            f"coordinator {' '.join(words)}: no such verb"
        )
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
    for word in words:
        if word.startswith("-") and len(word) > 1:
            assert word.partition("=")[0] in known, f"{program} {' '.join(words)}: no option {word}"


@page
def test_settings_that_are_named_exist(page: Path) -> None:
    variables = {environment_name(name) for name in SETTINGS}
    text = page.read_text()
    for variable in re.findall(r"SWARMBOARD_[A-Z_]+", text):
        assert variable.removesuffix("_FILE") in variables, variable
    for name in re.findall(rf"`((?:{'|'.join(GROUPS)})\.[a-z_]+)`", text):
        assert name in SETTINGS, name


@page
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", page.read_text(), re.MULTILINE):
        assert "".join(target) in targets


def test_the_table_of_settings_gives_their_defaults() -> None:
    rows = tables(ROOT / "docs/operations.md", "setting")
    assert {row[0] for row in rows} == SETTINGS.keys() - {"worker.name", "data.folder"}
    for name, default, *_ in rows:
        assert default == (shown(SETTINGS[name].default) or "none"), name


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = tables(ROOT / "README.md", "exit code")
    assert {int(row[0]): row[1] for row in rows} == {int(code): code.name for code in Exit}


def test_the_table_of_verbs_is_that_of_the_command() -> None:
    assert {row[0]: row[1] for row in tables(ROOT / "README.md", "verb")} == VERBS


def test_the_tests_are_run_by_the_command_that_the_readme_names() -> None:
    assert "\nmake test\n" in (ROOT / "README.md").read_text()
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text()


def test_every_promise_names_tests() -> None:
    rows = tables(ROOT / "README.md", "promise")
    assert [row[0] for row in rows] == [f"P{number}" for number in range(1, 11)]
    assert all("tests/" in row[-1] for row in rows)
