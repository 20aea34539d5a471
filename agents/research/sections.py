"""Spans of lines with a heading, and how a long one is cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

MAX_LINES = 24
MAX_CHARS = 1_600
"""About what a reader takes in at a glance, and a quotation that a report can show."""


@dataclass(frozen=True, slots=True)
class Section:
    """Lines `start` to `end`, from 1, inclusive. `text` replaces them for searching.

    A whole section is never cut: its text could not be cut along with its lines.
    """

    start: int
    end: int
    heading: str
    kind: str
    text: str | None = None


def split_section(section: Section, lines: Sequence[str]) -> Iterator[Section]:
    """Cuts at blank lines where there are any, so that each part has at most MAX_LINES and MAX_CHARS.

    Parts are filled up: paragraphs that fit together stay together.
    """
    if section.text is not None:
        yield section
        return
    start = section.start
    while start <= section.end:
        end = _end_of_part(start, section.end, lines)
        yield replace(section, start=start, end=end)
        start = end + 1


def _end_of_part(start: int, last: int, lines: Sequence[str]) -> int:
    size, blank = 0, 0
    for number in range(start, last + 1):
        line = lines[number - 1]
        size += len(line) + 1
        if number > start and (number - start >= MAX_LINES or size > MAX_CHARS):
            return blank if blank - start >= MAX_LINES // 4 else number - 1
        if not line.strip():
            blank = number
    return last
