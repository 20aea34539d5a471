"""Sentences of quotations that say most about a question: the answer of a run that has no model. Pure.

A sentence is the text of its lines without comment marks, tags and line breaks; nothing is reworded.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.agent import Found
from agents.research.artifacts import Finding, Span, Statement
from agents.research.query import synonyms_of, terms_of
from agents.research.vocabulary import STOP_WORDS, words

_MARKS = re.compile(
    r"^\s*(?:#+!?|//+!?|/\*+|\*+/?|;+|--|[rRbBuUfF]?\"\"\"|[rRbBuUfF]?'''|>|[-*+]\s|\.\. )\s?"
)
_CLOSING = re.compile(r"\s*(?:\"\"\"|'''|\*/)\s*$")
_TAG = re.compile(r"<[^<>]{0,500}>")
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z\"'(`*])")
_PROSE = re.compile(r"[A-Za-z]{2,}(?:[^A-Za-z]+[A-Za-z]+){3,}")
_CODE = re.compile(
    r"^\s*(?:@\w|(?:async )?def |class \w+[(:]"
    r"|return(?:$| (?:\w+[.(]|True|False|None))|else:|try:|except\b.*:$|import [\w.]+"
    r"|from \S+ import|raise [\w.]+(?:\(|$)|(?:el)?if .*:$|(?:for|while|with|async) .*:$)"
    r"|^\s*[\w.\[\]]+\s*[-+*/]?=[^=]|[;{}]\s*$|^\s*[\w.]+\([^)]*\)?\s*$"
)
_SUFFIXES = tuple(words("ations ation ating ated ates ions ion ing ate ers er ed es s ly e"))
_SHORT, _LONG = 20, 400
_TORN = 0.6
"""What begins in lower case may be the end of a sentence that the passage does not hold."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    start: int
    end: int
    text: str


def extract(question: str, findings: Sequence[Found[Finding]], limit: int) -> tuple[Statement, ...]:
    """Up to `limit` statements, each from another finding, in the findings' order of merit.

    A sentence is worth the share of the question's words that it holds (synonyms half), times
    its finding's relevance; a repetition of an earlier statement's words is worth nothing.
    """
    wanted = _wanted(question)
    chosen: list[tuple[float, Statement]] = []
    said: set[str] = set()
    for found in findings[: limit * 4]:
        best = max(_candidates(found.payload, wanted), default=None, key=lambda item: item[0])
        if best is None or best[0] <= 0 or best[1].text in said:
            continue
        said.add(best[1].text)
        chosen.append((best[0] * found.payload.relevance, _statement(best[1], found)))
    chosen.sort(key=lambda item: -item[0])
    return tuple(statement for _, statement in chosen[:limit])


def stem(word: str) -> str:
    """A rough stem: enough to see that `cancelled` and `cancellation` are one word."""
    word = word.casefold()
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4 and not word.endswith("ss"):
            word = word.removesuffix(suffix)
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] != "s" else word


def content_stems(text: str) -> set[str]:
    """Stems of the words that carry meaning."""
    words = (word.casefold() for word in re.findall(r"[^\W_]{3,}", text))
    return {stem(word) for word in words if word not in STOP_WORDS}


def _wanted(question: str) -> dict[str, float]:
    wanted: dict[str, float] = {}
    for term in terms_of(question):
        for word in re.findall(r"[^\W_]+", term.text):
            wanted[stem(word)] = max(term.weight, wanted.get(stem(word), 0.0))
            for synonym in synonyms_of(word):
                wanted.setdefault(stem(synonym), 0.5 * term.weight)
    return wanted


def _candidates(finding: Finding, wanted: dict[str, float]) -> Iterator[tuple[float, _Sentence]]:
    total = sum(weight for weight in wanted.values() if weight >= 1.0) or 1.0
    for sentence in _sentences(finding):
        score = sum(wanted.get(word, 0.0) for word in content_stems(sentence.text)) / total
        yield min(1.0, score) * (_TORN if sentence.text[0].islower() else 1.0), sentence
    for offset, line in enumerate(finding.quote.splitlines()):
        if _CODE.search(line):
            score = 0.4 * sum(wanted.get(word, 0.0) for word in content_stems(line)) / total
            number = finding.start_line + offset
            yield min(0.4, score), _Sentence(number, number, _code(line))


def _code(line: str) -> str:
    return "`" + line.strip().replace("`", "'")[:_LONG] + "`"


def _sentences(finding: Finding) -> Iterator[_Sentence]:
    """Sentences of the prose in a quotation: paragraphs of lines that are not code."""
    paragraph: list[tuple[int, str]] = []
    comment = False
    for offset, raw in enumerate(finding.quote.split("\n")):
        line = _plain(raw)
        ends = not line or bool(_CODE.search(raw))
        if comment != raw.lstrip().startswith("#"):
            comment = not comment
            yield from _split(paragraph)
            paragraph = []
        if not ends:
            paragraph.append((finding.start_line + offset, line))
        if ends or _CLOSING.search(raw.rstrip("\r")):
            yield from _split(paragraph)
            paragraph = []
    yield from _split(paragraph)


def _plain(raw: str) -> str:
    line = _CLOSING.sub("", _MARKS.sub("", raw.rstrip("\r")))
    return html.unescape(_TAG.sub(" ", line)).strip() if "<" in line else line.strip()


def _split(paragraph: Sequence[tuple[int, str]]) -> Iterator[_Sentence]:
    text, places = "", list[tuple[int, int]]()
    for number, line in paragraph:
        places.append((len(text), number))
        text += f"{line} "
    start = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        sentence = " ".join(text[start:end].split())
        if _SHORT <= len(sentence) <= _LONG and _PROSE.search(sentence) and " # " not in sentence:
            numbers = [number for offset, number in places if offset < end]
            first = [number for offset, number in places if offset <= start]
            yield _Sentence(first[-1], numbers[-1], sentence)
        start = end


def _statement(sentence: _Sentence, found: Found[Finding]) -> Statement:
    finding = found.payload
    span = Span(
        root=finding.root,
        path=finding.path,
        page=finding.page,
        start_line=sentence.start,
        end_line=sentence.end,
    )
    return Statement(text=sentence.text, citations=(span,), findings=(found.id,))
