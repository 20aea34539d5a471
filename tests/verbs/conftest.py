"""One swarm for all tests of the verbs: servers, a coordinator and two workers by `coordinator up`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verbs.commands import ROOT, Shell, line_with, spec, stop

QUESTION = "Was hebt die Gezeiten, 月 or the moon's pull? 🌊"
CORPUS = {
    "tides.md": "# Tides\n\nThe moon raises the tides of the sea by its pull.\nSpring tides are high.\n",
    "harbour.txt": "A harbour with a sill keeps its water at low tide.\n",
}


def make_corpus(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in CORPUS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The shell of a running swarm; with a `corpus` in its folder."""
    home = tmp_path_factory.mktemp("home")
    make_corpus(home / "corpus")
    shell = Shell(home, home / "data", {"PYTHONPATH": str(ROOT)})
    agents = (
        *("--agents", "agents.research", "--agents", "tests.verbs.agents_for_tests"),
        *("--agents", "tests.verbs.agents_that_wait", "--agents", "tests.verbs.agents_that_send"),
    )
    up = shell.start("up", "--workers", "2", *agents)
    try:
        line_with(up, "up: data in")
        yield shell
        ended = stop(up)
        assert ended.code == 0
        assert not shell.left_over()
    finally:
        up.kill()


@pytest.fixture(scope="session")
def finished(shell: Shell) -> str:
    """A research run that has ended well."""
    return shell("submit", QUESTION, "--corpus", "corpus", "--wait", "--timeout", "60").out.strip()


@pytest.fixture(scope="session")
def noted(shell: Shell) -> str:
    """A run with one small and one large artifact."""
    return shell("submit", "--spec", "-", "--wait", stdin=spec("note", "Grüße")).out.strip()


@pytest.fixture(scope="session")
def failed(shell: Shell) -> str:
    """A run whose agent raised."""
    return shell("submit", "--spec", "-", "--wait", stdin=spec("boom", "x"), code=6).out.strip()


@pytest.fixture
def napping(shell: Shell) -> Iterator[str]:
    """A run that goes on until it is cancelled."""
    run = shell("submit", "--spec", "-", stdin=spec("nap")).out.strip()
    yield run
    shell("cancel", run)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Shell]:
    """A shell over a data folder of the test's own, where nothing runs before and nothing may after."""
    make_corpus(tmp_path / "home" / "corpus")
    shell = Shell(tmp_path / "home", tmp_path / "home" / "data")
    yield shell
    assert not shell.left_over()
