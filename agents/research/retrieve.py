"""Finds and ranks passages for a direction. Deterministic: the same index and query give the same list.

Candidates come from FTS5's BM25 over an OR of all terms. They are ranked anew by

    score = 0.45 coverage + 0.25 bm25 + 0.20 heading + 0.10 nearness

coverage: the share of the terms' idf that the passage (with its heading and path) holds, a synonym
counting half; bm25: as FTS5 says, relative to the best; heading: the same share in heading and path
alone; nearness: the share of neighbouring terms that stand within ten words. Passages of test folders, code
without a word of prose, and passages of a line or two count for less.

A direction ranks by the mean of the scores for its topic and for the run's question, so that it finds
what others do not. Relevance is 0.8 of the score for the question and 0.2 of that for the topic, so that
a direction that drifts away from the question is worth less.
"""

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agents.research.index import Index
from agents.research.query import Term, terms_of

CANDIDATES = 120
_SYNONYM_CREDIT = 0.5
_TOPIC_IN_RANK = 0.5
_TOPIC_IN_RELEVANCE = 0.2
_NEAR_WORDS = 10
_CANDIDATES_SQL = """
    SELECT rowid, -bm25(chunks, 1.5, 4.0, 1.0, 0.7) FROM chunks WHERE chunks MATCH ?
    ORDER BY bm25(chunks, 1.5, 4.0, 1.0, 0.7), rowid LIMIT ?
"""
_MATCHING_SQL = """
    SELECT rowid FROM chunks WHERE chunks MATCH ? AND +rowid IN (SELECT value FROM json_each(?))
"""
_HITS_SQL = """
    SELECT spans.id, sources.root, sources.path, page, start, end, encoding, kind, coalesce(quote, body), body
    FROM json_each(?) AS wanted JOIN spans ON spans.id = wanted.value
    JOIN sources ON sources.id = spans.source JOIN chunks ON chunks.rowid = spans.id
"""
_TEST_FOLDER = re.compile(r"(^|/)(tests?|testing|idle_test|testsuite)/|(^|/)test_[^/]*$")
_TEST_FACTOR = 0.6
"""Test code says what is checked, seldom what is so."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage of the index. `merit` orders a direction's hits, `relevance` tells directions apart; both are
    in [0, 1]. `terms` are those of topic and question that it holds.
    """

    row: int
    root: int
    path: str
    page: int
    start: int
    end: int
    encoding: str
    heading: str
    quote: str
    text: str
    merit: float
    relevance: float
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A term with its idf in this index; absent terms have none."""

    term: Term
    idf: float


def weigh(index: Index, terms: Iterable[Term]) -> tuple[Weighed, ...]:
    """The terms that occur, each with its idf, and with 0 those that do not."""
    (total,) = index.connection.execute("SELECT count(*) FROM spans").fetchone()
    weighed: list[Weighed] = []
    for term in terms:
        (found,) = index.connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE chunks MATCH ?)", (term.phrase,)
        ).fetchone()
        idf = term.weight * math.log(1 + (total - found + 0.5) / (found + 0.5)) if found else 0.0
        weighed.append(Weighed(term, idf))
    return tuple(weighed)


def search(index: Index, question: str, topic: str, limit: int) -> list[Hit]:
    """Up to `limit` passages, best first, and passages of one place spread out."""
    asked = weigh(index, terms_of(question))
    sought = weigh(index, terms_of(topic))
    scorer = _Scorer(index.connection, _candidates(index.connection, [*sought, *asked]))
    for_topic = scorer.scores(sought)
    for_question = scorer.scores(asked) if asked != sought else for_topic
    scores = {
        row: _Score(topic, for_question[row][0], terms | for_question[row][1])
        for row, (topic, terms) in for_topic.items()
    }
    hits = _hits(index.connection, scores, wants_tests=bool(re.search(r"\btest", question, re.IGNORECASE)))
    return _diversified(hits)[:limit]


def _candidates(connection: sqlite3.Connection, weighed: Sequence[Weighed]) -> dict[int, float]:
    """Rows with their BM25 relative to the best: by the terms themselves, then by synonyms too."""
    phrases = list(dict.fromkeys(item.term.phrase for item in weighed if item.idf))
    synonyms = list(dict.fromkeys(form for item in weighed for form in item.term.synonyms))
    rows: dict[int, float] = {}
    for query, limit in ((phrases, CANDIDATES), (phrases + synonyms, CANDIDATES // 2)):
        if not query:
            continue
        found = connection.execute(
            _CANDIDATES_SQL,
            (" OR ".join(query), limit),
        ).fetchall()
        best = found[0][1] if found and found[0][1] > 0 else 1.0
        for row, score in found:
            rows.setdefault(row, max(0.0, score / best))
    return rows


@dataclass(frozen=True, slots=True)
class _Score:
    topic: float
    question: float
    terms: frozenset[str]

    def mixed(self, topic_share: float) -> float:
        return topic_share * self.topic + (1 - topic_share) * self.question


class _Scorer:
    """Scores candidate rows for sets of terms, asking FTS5 which row holds what."""

    def __init__(self, connection: sqlite3.Connection, candidates: dict[int, float]) -> None:
        self._connection = connection
        self._candidates = candidates
        self._known: dict[str, set[int]] = {}
        self._list = json.dumps(list(candidates))

    def scores(self, weighed: Sequence[Weighed]) -> dict[int, tuple[float, frozenset[str]]]:
        present = [item for item in weighed if item.idf]
        total = sum(item.idf for item in present)
        if not total:
            return dict.fromkeys(self._candidates, (0.0, frozenset[str]()))
        coverage = dict.fromkeys(self._candidates, 0.0)
        heading = dict.fromkeys(self._candidates, 0.0)
        held: dict[int, set[str]] = {row: set() for row in self._candidates}
        for item in present:
            exact = self._matching(item.term.phrase)
            alike = self._matching(" OR ".join(item.term.synonyms)) if item.term.synonyms else set[int]()
            for row in exact:
                held[row].add(item.term.text)
            for row in exact | alike:
                coverage[row] += item.idf / total * (1.0 if row in exact else _SYNONYM_CREDIT)
            for row in self._matching(f"{{path heading}} : {item.term.phrase}"):
                heading[row] += item.idf / total
        near = self._nearness(present)
        scores: dict[int, tuple[float, frozenset[str]]] = {}
        for row, bm25 in self._candidates.items():
            named = 0.20 * min(1.0, 2 * heading[row])
            score = 0.45 * coverage[row] + 0.25 * bm25 + named + 0.10 * near.get(row, 0.0)
            scores[row] = score, frozenset(held[row])
        return scores

    def _nearness(self, present: Sequence[Weighed]) -> dict[int, float]:
        words = [item for item in present if " " not in item.term.phrase]
        pairs = list(pairwise(words))
        near: dict[int, float] = {}
        for left, right in pairs:
            query = f"NEAR({left.term.phrase} {right.term.phrase}, {_NEAR_WORDS})"
            for row in self._matching(query):
                near[row] = near.get(row, 0.0) + 1 / len(pairs)
        return near

    def _matching(self, query: str) -> set[int]:
        if query in self._known:
            return self._known[query]
        found = self._connection.execute(_MATCHING_SQL, (query, self._list))
        self._known[query] = {row for (row,) in found}
        return self._known[query]


def _hits(connection: sqlite3.Connection, scores: dict[int, _Score], *, wants_tests: bool) -> list[Hit]:
    found = connection.execute(_HITS_SQL, (json.dumps(list(scores)),))
    hits: list[Hit] = []
    for row, root, path, page, start, end, encoding, kind, quote, body in found:
        score = scores[row]
        factor = _worth(body)
        if not wants_tests and _TEST_FOLDER.search(path):
            factor *= _TEST_FACTOR
        hits.append(
            Hit(
                row, root, path, page, start, end, encoding, kind.partition(":")[2], quote, body,
                _unit(score.mixed(_TOPIC_IN_RANK) * factor), _unit(score.mixed(_TOPIC_IN_RELEVANCE) * factor),
                tuple(sorted(score.terms)),
            )
        )  # fmt: skip
    hits.sort(key=lambda hit: (-hit.merit, hit.row))
    return hits


def _unit(value: float) -> float:
    return round(min(1.0, value), 6)


def _worth(text: str) -> float:
    """Prose (paragraphs, docstrings, comments) explains; code alone does less; a line or two hardly does."""
    if len(text) < 160:
        return 0.8
    code = re.search(r"^\s*(def|class|return|if|for|while|import|from)\b|[;{]\s*$", text, re.MULTILINE)
    explains = re.search(r"\"\"\"|'''|/\*|(^\s*(#|//).*\n){2}", text, re.MULTILINE)
    return 0.93 if code and not explains else 1.0


def _diversified(hits: Sequence[Hit]) -> list[Hit]:
    """Puts a further passage of a file, and more so of a heading, behind others of about its score."""
    files: dict[str, int] = {}
    headings: dict[tuple[str, str], int] = {}
    groups: dict[tuple[str, str], int] = {}
    ranked: list[tuple[float, Hit]] = []
    for hit in hits:
        place = (hit.path, hit.heading)
        group = (hit.path, re.split(r"\.| > ", hit.heading)[0])
        penalty = 0.98 ** files.get(hit.path, 0) * 0.97 ** groups.get(group, 0)
        penalty *= 0.9 ** headings.get(place, 0)
        ranked.append((hit.merit * penalty, hit))
        files[hit.path] = files.get(hit.path, 0) + 1
        groups[group] = groups.get(group, 0) + 1
        headings[place] = headings.get(place, 0) + 1
    ranked.sort(key=lambda item: (-item[0], item[1].row))
    return [hit for _, hit in ranked]
