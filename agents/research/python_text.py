"""Sections of Python source: one per class head and function, found by indentation, not by parsing.

A file of any Python version, or with a syntax error, is cut as well.
"""

import re
from collections.abc import Iterator, Sequence

from agents.research.sections import Section

_DEFINITION = re.compile(r"^(\s*)(?:async\s+def|def|class)\s+([A-Za-z_]\w*)")
_TOKEN = re.compile(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|#.*")


def python_sections(lines: Sequence[str]) -> Iterator[Section]:
    """Sections named by qualified name (`Task.cancel`), with the decorators and comments right above."""
    inside = _inside_strings(lines)
    path: list[tuple[int, str]] = []
    start, heading = 1, ""
    for number, line in enumerate(lines, 1):
        if inside[number - 1] or not line.strip():
            continue
        match = _DEFINITION.match(line)
        indent = len(line) - len(line.lstrip())
        ends = bool(path) and indent <= path[-1][0] and line.lstrip()[0] not in "@#)]}"
        if not match and not ends:
            continue
        path = [(depth, name) for depth, name in path if depth < indent]
        if match:
            path.append((indent, match[2]))
        first = _first_line(number, start, indent, lines)
        if first > start:
            yield Section(start, first - 1, heading, "definition" if heading else "code")
        start, heading = first, ".".join(name for _, name in path)
    if start <= len(lines):
        yield Section(start, len(lines), heading, "definition" if heading else "code")


def _first_line(number: int, start: int, indent: int, lines: Sequence[str]) -> int:
    first = number
    while first > start:
        above = lines[first - 2]
        if not above.lstrip().startswith(("@", "#")) or len(above) - len(above.lstrip()) != indent:
            return first
        first -= 1
    return first


def _inside_strings(lines: Sequence[str]) -> list[bool]:
    """For each line, whether it begins inside a triple-quoted string."""
    inside: list[bool] = []
    delimiter = ""
    for line in lines:
        inside.append(bool(delimiter))
        position = 0
        while True:
            if delimiter:
                closed = line.find(delimiter, position)
                if closed < 0:
                    break
                position, delimiter = closed + 3, ""
            token = _TOKEN.search(line, position)
            if token is None:
                break
            position = token.end()
            if token[0] in {'"""', "'''"}:
                delimiter = token[0]
    return inside
