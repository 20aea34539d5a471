"""What README and docs tell a reader to type works, in the order in which they say it."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import LANGUAGES, PAGES, ROOT, blocks, name_of
from tests.docs.session import session

NOT_RUN = {
    ("README.md", "it sets up an environment first; what it asks is asked below of a smaller corpus"),
    ("README.md", "it is the command that runs this test"),
    ("README.md", "it fetches every dependency; tests/packaging installs the wheel without them"),
    ("README.md", "tests/docs/test_resume.py kills a run first"),
    (
        "README.md",
        "no Docker engine runs on the build machines; tests/compose runs the same commands and files",
    ),
    ("docs/control.md", "tests/verbs/test_limits.py reads such a file"),
    ("docs/durable-agents.md", "tests/verbs/test_prices.py reads such a file"),
    (
        "docs/operations.md",
        "there are no such hosts; tests/compose runs these settings against servers on other ports",
    ),
}
"""Page and reason of each block that is not run. A new one needs an entry, and so a reason that convinces."""

page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@page
def test_what_the_page_says_works(page: Path, tmp_path: Path) -> None:
    with session(tmp_path) as reader:
        for block in blocks(page):
            if "not run" not in block.notes:
                reader.do(block)


@page
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    strange = [block.where for block in blocks(page) if block.language not in LANGUAGES]
    assert not strange


@page
def test_data_in_blocks_is_well_formed(page: Path) -> None:
    parsers = {"json": json.loads, "toml": tomllib.loads}
    for block in blocks(page):
        if parse := parsers.get(block.language):
            parse(block.text)


def test_examples_are_shown_as_they_are() -> None:
    shown = {}
    for block in (block for page in PAGES for block in blocks(page)):
        if path := block.notes.get("example"):
            assert block.text == (ROOT / path).read_text(), f"{block.where} differs from {path}"
            shown[path] = block.where
    kept = {name_of(path) for path in (ROOT / "docs/examples").iterdir() if path.is_file()}
    assert shown.keys() == kept, "an example that no page shows, or the other way round"


def test_only_what_is_listed_is_not_run() -> None:
    found = {
        (name_of(page), block.notes["not run"])
        for page in PAGES
        for block in blocks(page)
        if "not run" in block.notes
    }
    assert found == NOT_RUN
