"""From a question to search terms: what to look for, and what else it may be called. Pure."""

import re
from dataclasses import dataclass

from agents.research.vocabulary import IDIOMS, STOP_WORDS, SYNONYMS

_WORD = re.compile(r"[^\W_]\w*(?:\.\w+)*", re.UNICODE)
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|\d+")

_PART_WEIGHT = 0.4
"""A part of an identifier says less than the whole, and it is counted besides it."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or identifier to look for. `phrase` is its FTS5 form, `synonyms` the forms of its like."""

    text: str
    phrase: str
    synonyms: tuple[str, ...] = ()
    weight: float = 1.0


def terms_of(text: str) -> tuple[Term, ...]:
    """The terms of a text in order, each once.

    Stop words are dropped; an identifier counts whole (as a phrase of its parts) and by each part.
    """
    terms: dict[str, Term] = {}
    for word in _WORD.findall(text):
        parts = [part.lower() for part in _HUMP.findall(word)] if word.isascii() else [word.casefold()]
        identifier = is_identifier(word)
        if identifier:
            pieces = [piece for piece in re.split(r"[._]+", word.lower()) if piece]
            terms.setdefault(word.lower(), Term(word, quoted(" ".join(pieces))))
        weight = _PART_WEIGHT if identifier else 1.0
        for part in parts if identifier else [word.casefold()]:
            if part not in STOP_WORDS and (len(part) > 1 or not part.isascii()):
                synonyms = tuple(map(quoted, synonyms_of(part)))
                terms.setdefault(part, Term(part, quoted(part), synonyms, weight))
    for pattern, words in IDIOMS:
        if re.search(pattern, text, re.IGNORECASE):
            terms.setdefault(words, Term(words, quoted(words), (), _PART_WEIGHT))
    return tuple(terms.values())


def is_identifier(word: str) -> bool:
    """Whether a word looks like a name in a program: snake_case, dotted or camelCase."""
    return bool(re.search(r"[._]\w|[a-z0-9][A-Z]", word)) and not word.replace(".", "").isdigit()


def synonyms_of(word: str) -> tuple[str, ...]:
    """A small thesaurus of words that programmers use for one another; also for plain inflections."""
    for ending in ("", "s", "es", "d", "ed", "ing"):
        form = word.removesuffix(ending)
        if form in SYNONYMS:
            return SYNONYMS[form]
    return ()


def quoted(phrase: str) -> str:
    """An FTS5 string: nothing in it is taken for syntax."""
    return '"' + phrase.replace('"', '""') + '"'


def clauses_of(question: str) -> tuple[str, ...]:
    """The parts of a question that ask for something of their own."""
    parts = re.split(r"[?!;:,]|\.\s|\b(?:and|but|or|then)\b", question)
    return tuple(part.strip(" .") for part in parts if len(terms_of(part)) >= 1)
