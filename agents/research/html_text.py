"""Text of an HTML file with the lines it stands on, without scripts and styles. Fetches and runs nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from agents.research.sections import MAX_CHARS, MAX_LINES, Section
from agents.research.vocabulary import words

_SILENT = frozenset({"script", "style", "template", "noscript", "svg"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(_HEADINGS) | frozenset(
    words(
        "p div li ul ol dl dt dd pre table tr blockquote section article header footer nav main aside figure "
        "title body"
    )
)

_UNCLOSED = 1_000
"""With more tags left open than this a file is read as text: html.parser takes quadratic time over them."""


@dataclass(slots=True)
class _Block:
    start: int
    end: int
    level: int = 0
    words: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


class _Reader(HTMLParser):
    """Collects blocks of text with the lines of their first and last words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[_Block] = []
        self._silent = 0
        self._level = 0
        self._open: _Block | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SILENT:
            self._silent += 1
        if tag in _BLOCKS:
            self._open = None
        self._level = _HEADINGS.get(tag, 0) if tag in _BLOCKS else self._level

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        if tag in _BLOCKS:
            self._open = None
            self._level = 0

    def handle_data(self, data: str) -> None:
        if self._silent or not data.strip():
            return
        start = self.getpos()[0] + data[: len(data) - len(data.lstrip())].count("\n")
        end = start + data.strip().count("\n")
        if self._open is None:
            self._open = _Block(start, end, self._level)
            self.blocks.append(self._open)
        self._open.end = max(self._open.end, end)
        self._open.words.append(data.strip())


def html_sections(lines: Sequence[str]) -> Iterator[Section]:
    """Neighbouring blocks under one heading, together up to the size of a passage."""
    text = "\n".join(lines)
    if text.count("<") > 2 * text.count(">") + _UNCLOSED:
        yield Section(1, len(lines), "", "prose")
        return
    reader = _Reader()
    reader.feed(text)
    reader.close()
    path: list[tuple[int, str]] = []
    group: list[_Block] = []
    for block in reader.blocks:
        if group and (block.level or not _fits(group, block)):
            yield _section(group, path, len(lines))
            group = []
        if block.level:
            path = [(depth, name) for depth, name in path if depth < block.level]
            path.append((block.level, block.text))
        group.append(block)
    if group:
        yield _section(group, path, len(lines))


def _fits(group: list[_Block], block: _Block) -> bool:
    size = sum(len(part.text) for part in group) + len(block.text)
    return block.end - group[0].start < MAX_LINES and size <= MAX_CHARS


def _section(group: list[_Block], path: list[tuple[int, str]], last: int) -> Section:
    heading = " > ".join(name for _, name in path)
    text = "\n".join(block.text for block in group)
    end = min(max(block.end for block in group), last)
    return Section(min(group[0].start, end), end, heading, "prose", text)
