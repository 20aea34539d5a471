"""What artifacts are found by: index terms, the terms of a query, and the final say on a match.

A term is `<condition>:<value>`. An index over them only narrows the search; `matches` decides.
"""

import re
import unicodedata

from protocol.artifacts import Artifact
from protocol.messages import QueryRequest

EVERYTHING = "all"
"""The term that every artifact is found by."""
INDEXED_WORDS = 64
"""Distinct words of an artifact's text that it can be found by; later ones are not searchable."""
WORD_LENGTH = 32
"""Longer words count by their beginning."""
_WORD = re.compile(r"\w+")


def words(text: str) -> tuple[str, ...]:
    """The distinct words of a text in order, without regard to case and Unicode form.

    An apostrophe, a hyphen or any other sign divides words; one-letter words count too.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return tuple(dict.fromkeys(word[:WORD_LENGTH] for word in _WORD.findall(plain)))


def indexed_words(text: str) -> tuple[str, ...]:
    """The words of an artifact's text that it can be found by."""
    return words(text)[:INDEXED_WORDS]


def index_terms(artifact: Artifact) -> tuple[str, ...]:
    """The index entries of an artifact, each once."""
    terms = [EVERYTHING, f"type:{artifact.type}", f"producer:{artifact.producer.agent}"]
    if artifact.correlation is not None:
        terms.append(f"correlation:{artifact.correlation}")
    terms += [f"tag:{tag}" for tag in artifact.tags]
    terms += [f"word:{word}" for word in indexed_words(artifact.text)]
    return tuple(dict.fromkeys(terms))


def query_terms(query: QueryRequest) -> tuple[str, ...]:
    """Terms that every answer to the query has; never empty. Text without words sets no condition."""
    terms: list[str] = []
    for condition, value in (
        ("type", query.type),
        ("tag", query.tag),
        ("producer", query.producer),
        ("correlation", query.correlation),
    ):
        if value is not None:
            terms.append(f"{condition}:{value}")
    terms += [f"word:{word}" for word in words(query.text or "")]
    return tuple(terms) or (EVERYTHING,)


def matches(artifact: Artifact, query: QueryRequest, now_ms: int) -> bool:
    """Whether the artifact answers the query: every condition, its time (bounds included), its visibility."""
    return (
        query.type in {None, artifact.type}
        and query.producer in {None, artifact.producer.agent}
        and query.correlation in {None, artifact.correlation}
        and (query.tag is None or query.tag in artifact.tags)
        and (query.since_ms is None or artifact.created_ms >= query.since_ms)
        and (query.until_ms is None or artifact.created_ms <= query.until_ms)
        and (not query.text or set(words(query.text)) <= set(indexed_words(artifact.text)))
        and artifact.visible_to(query.agent, now_ms)
    )
