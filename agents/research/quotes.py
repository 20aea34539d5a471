"""Byte-for-byte checks of quotations, and how alike two texts are. Never trusts an index: reads the file."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agents.research.artifacts import Quotation, Reason
from agents.research.corpus import OutsideCorpus, locate
from agents.research.documents import Page, Unreadable, read_document

NEAR_OVERLAP = 0.5
"""Two passages that share half the lines of the shorter say the same."""
NEAR_TEXT = 0.85
"""Likewise texts of which 85 % of the three-word sequences are common (Jaccard)."""
_SHINGLE = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: Reason
    detail: str


def check(roots: Sequence[str], quotation: Quotation) -> Refusal | None:
    """None when the file, read now, holds the quotation at its lines byte for byte; else why not.

    It must begin in its first line and end in its last: a citation is neither wider nor narrower.
    """
    try:
        path = locate(roots, quotation.root, quotation.path)
    except OutsideCorpus as error:
        return Refusal("outside", str(error))
    try:
        document = read_document(path, only_page=quotation.page)
    except Unreadable as error:
        return Refusal("unreadable" if path.exists() else "missing", str(error))
    page = document.page(quotation.page)
    if page is None or not quotation.quote:
        return Refusal("changed", "there is no such page, or nothing is quoted")
    wanted = quotation.quote.encode(quotation.encoding)
    if stands_at(page, quotation.start_line, quotation.end_line, wanted):
        return None
    found = find(page, wanted)
    if found is not None:
        return Refusal("moved", f"the text now stands in lines {found[0]} to {found[1]}")
    return Refusal("changed", "the file no longer holds the text")


def stands_at(page: Page, start: int, end: int, wanted: bytes) -> bool:
    """Whether the bytes begin in line `start` and end in line `end`."""
    lines = page.lines[start - 1 : end]
    if start < 1 or end < start or len(lines) != end - start + 1:
        return False
    body = b"".join(lines)
    position = body.find(wanted)
    while position >= 0:
        last = len(body) - len(lines[-1])
        if position < len(lines[0]) and position + len(wanted) > last:
            return True
        position = body.find(wanted, position + 1)
    return False


def find(page: Page, wanted: bytes) -> tuple[int, int] | None:
    """First and last line of the first place that holds the bytes."""
    position = b"".join(page.lines).find(wanted)
    if position < 0 or not wanted:
        return None
    start = end = offset = 0
    for number, line in enumerate(page.lines, 1):
        if offset <= position < offset + len(line):
            start = number
        if offset < position + len(wanted) <= offset + len(line):
            end = number
        offset += len(line)
    return start, end


def locate_quote(passage: str, first_line: int, quote: str) -> tuple[int, int] | None:
    """Where a passage that starts in `first_line` holds a quotation exactly; None when it does not."""
    page = Page(0, tuple(passage.encode().splitlines(keepends=True)))
    found = find(page, quote.encode(errors="replace"))
    return None if found is None else (found[0] + first_line - 1, found[1] + first_line - 1)


def normalised(text: str) -> str:
    """Case, width, blanks and punctuation do not count when texts are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded))


def text_similarity(left: str, right: str) -> float:
    """Jaccard similarity of the sets of three-word sequences of the normalised texts, in [0, 1]."""
    first, second = _shingles(left), _shingles(right)
    if not first or not second:
        return 0.0
    return len(first & second) / len(first | second)


@lru_cache(maxsize=4_096)
def _shingles(text: str) -> frozenset[str]:
    words = normalised(text).split()
    starts = range(max(1, len(words) - _SHINGLE + 1)) if words else range(0)
    return frozenset(" ".join(words[at : at + _SHINGLE]) for at in starts)
