"""Cuts documents into passages along their structure: functions, headings, paragraphs."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agents.research.documents import Document, Kind, Page
from agents.research.html_text import html_sections
from agents.research.python_text import python_sections
from agents.research.sections import Section, split_section

LINE_LIMIT_CHARS = 1_600
"""A longer line is cut into pieces of this size, each a passage of its own."""

_HEAD_CHARS = 300
"""Headings and definitions are looked for in so much of a line: patterns must not run over megabytes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage to index. `quote` is what the file holds there; `text` what is searched."""

    page: int
    start: int
    end: int
    heading: str
    kind: str
    text: str
    quote: str


def chunks_of(document: Document) -> Iterator[Chunk]:
    """Passages of a document in order; together they hold every line that is not blank."""
    for page in document.pages:
        lines = [line.decode(document.encoding).rstrip("\r\n") for line in page.lines]
        for section in _CUTTERS[document.kind](lines):
            for part in split_section(section, lines):
                yield from _chunks(document, page, part, lines)


def _chunks(document: Document, page: Page, section: Section, lines: Sequence[str]) -> Iterator[Chunk]:
    start, end = section.start, section.end
    while start <= end and not lines[start - 1].strip():
        start += 1
    while end >= start and not lines[end - 1].strip():
        end -= 1
    if start > end:
        return
    quote = page.text(start, end, document.encoding)
    text = section.text if section.text is not None else quote
    if start == end and len(quote) > LINE_LIMIT_CHARS:
        for offset in range(0, len(quote), LINE_LIMIT_CHARS):
            piece = quote[offset : offset + LINE_LIMIT_CHARS]
            yield Chunk(page.number, start, end, section.heading, section.kind, piece, piece)
        return
    if len(quote) > 4 * LINE_LIMIT_CHARS:
        for number in range(start, end + 1):
            yield from _chunks(document, page, Section(number, number, section.heading, section.kind), lines)
        return
    yield Chunk(page.number, start, end, section.heading, section.kind, text, quote)


_MARKDOWN_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")


def _markdown_sections(lines: Sequence[str]) -> Iterator[Section]:
    return _headed_sections(lines, _markdown_headings(lines))


def _markdown_headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    fence = ""
    for number, whole in enumerate(lines, 1):
        line = whole[:_HEAD_CHARS]
        opened = _FENCE.match(line)
        if opened and fence in {"", opened[1]}:
            fence = "" if fence else opened[1]
        elif fence:
            continue
        elif match := _MARKDOWN_HEADING.match(line):
            yield number, len(match[1]), match[2]
        elif number > 1 and re.fullmatch(r"(=+|-+)\s*", line) and re.match(r"\w", lines[number - 2]):
            yield number - 1, 1 if line[0] == "=" else 2, lines[number - 2].strip()


def _rst_sections(lines: Sequence[str]) -> Iterator[Section]:
    return _headed_sections(lines, _rst_headings(lines))


def _rst_headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    levels: list[str] = []
    for number in range(2, len(lines) + 1):
        line, title = lines[number - 1], lines[number - 2]
        match = _UNDERLINE.match(line)
        if not match or not title.strip() or _UNDERLINE.match(title):
            continue
        if len(line.rstrip()) < len(title.strip()):
            continue
        if match[1] not in levels:
            levels.append(match[1])
        yield number - 1, levels.index(match[1]) + 1, title.strip()


def _headed_sections(lines: Sequence[str], headings: Iterator[tuple[int, int, str]]) -> Iterator[Section]:
    """Sections from one heading to the next, named by the path of headings above them."""
    path: list[tuple[int, str]] = []
    start = 1
    for number, level, title in headings:
        if number > start:
            yield Section(start, number - 1, " > ".join(name for _, name in path), "prose")
        path = [(depth, name) for depth, name in path if depth < level]
        path.append((level, title))
        start = number
    if start <= len(lines):
        yield Section(start, len(lines), " > ".join(name for _, name in path), "prose")


_DEFINITION = re.compile(
    r"^\s*(?:(?:export|default|pub(?:\([a-z]+\))?|public|private|protected|internal|static|async|abstract|final|"
    r"inline|extern|const|unsafe|override|virtual)\s+)*"
    r"(?:function\*?|fn|func|class|struct|interface|trait|impl|enum|type|module|namespace|def|sub|proc|macro|"
    r"CREATE\s+(?:TABLE|VIEW|FUNCTION))\s+(?:\([^)]*\)\s*)?([A-Za-z_][\w:.]*)"
)
_C_FUNCTION = re.compile(r"^[A-Za-z_][\w\s*&:<>,]*?([A-Za-z_]\w*)\s*\([^;]*$")


def _code_sections(lines: Sequence[str]) -> Iterator[Section]:
    """Starts a section at each definition; comments and attributes right above belong to it."""
    start, heading = 1, ""
    for number, line in enumerate(lines, 1):
        begin = line[:_HEAD_CHARS]
        match = _DEFINITION.match(begin) or _C_FUNCTION.match(begin)
        if not match:
            continue
        first = number
        while first > start and re.match(r"\s*(//|/?\*|#|--|;|@|\[)", lines[first - 2]):
            first -= 1
        if first > start:
            yield Section(start, first - 1, heading, "code")
        start, heading = first, match[1]
    if start <= len(lines):
        yield Section(start, len(lines), heading, "code")


def _text_sections(lines: Sequence[str]) -> Iterator[Section]:
    if lines:
        yield Section(1, len(lines), "", "prose")


_CUTTERS: dict[Kind, Callable[[Sequence[str]], Iterator[Section]]] = {
    "python": python_sections,
    "markdown": _markdown_sections,
    "rst": _rst_sections,
    "html": html_sections,
    "code": _code_sections,
    "pdf": _text_sections,
    "text": _text_sections,
}
