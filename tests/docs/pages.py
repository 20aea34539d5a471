"""The pages of the documentation, and the fenced blocks in them.

A comment in front of a fence says what is special about its block:

    <!-- file: name -->       its text is saved under this name before anything else happens
    <!-- example: path -->    its text is that of a file of the repository, byte for byte
    <!-- stopped: … -->       what the page started is stopped first
    <!-- not run: reason -->  it cannot be run by a test; `test_pages.py` lists these
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LANGUAGES = frozenset({"sh", "python", "json", "toml", "output", "text"})
"""`output` is what the shell block before it prints (`…` stands for anything); `text` is for people alone."""

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL
)
NOTE = re.compile(r"<!-- (?P<kind>file|example|stopped|not run): (?P<value>[^>]+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block. `where` is its page and line, for people."""

    where: str
    language: str
    text: str
    notes: dict[str, str]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    source = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        before = NOTE.search(source[: found.start()])
        notes = {before["kind"]: before["value"]} if before else {}
        yield Block(f"{name_of(page)}:{line}", found["language"].strip(), found["text"], notes)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def tables(page: Path, head: str) -> list[list[str]]:
    """Cells of the rows of every table whose first column is headed so; code marks are taken off."""
    rows: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE):
        first, _, *body = (
            [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for line in table.splitlines()
        )
        if first[0] == head:
            rows += body
    return rows
