"""Topics that say nearly the same: one direction, not two.

Similarity is that of the sets of content words (Jaccard): words casefolded, without those that carry no
content, endings of plurals and verbs cut. Words with digits, and words that turn a meaning around, must
agree: "Python 3.11" is not "Python 3.12", nor "with" "without". The order of words does not count.
Exact repetition, up to case and space, is found by the direction's id already.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

_WORD = re.compile(r"\w+(?:\.\w+)*")
_EMPTY_WORDS = frozenset(
    _WORD.findall("""
        a about an and are as at be been being by can could did do does for from had has have how in into is
        it its may might of on or should so some such that the their them then there these they this those to
        was were what when where which who whom whose why will would
    """)
)
_TURNING_WORDS = frozenset(_WORD.findall("no not never without non except cannot before after more less"))


class Duplicate(NamedTuple):
    """The direction that says nearly the same, and how nearly."""

    direction: str
    similarity: float


class Duplicates:
    """An index of topics by their longest words, which are the rare ones more often than not.

    Two sets of words at least as similar as `threshold` share one of the first few words in any fixed
    order (prefix filtering: Bayardo, Ma and Srikant, 2007), so only topics that share one are compared;
    of those the `most` newest per word, so that the cost of a search is bounded. A duplicate older than
    that may be missed: then two directions say the same, which costs visits but loses nothing.
    """

    def __init__(self, threshold: float = 0.8, most: int = 50) -> None:
        self.threshold = threshold
        self._most = most
        self._words: dict[str, frozenset[str]] = {}
        self._by_word: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, direction: str, topic: str) -> None:
        """Enters a topic; the same direction again changes nothing."""
        words = content_words(topic)
        if direction in self._words or not words:
            return
        self._words[direction] = words
        for word in self._prefix(words):
            self._by_word[word].append(direction)

    def find(self, topic: str) -> Duplicate | None:
        """The most similar direction at or above the threshold; of equals the one entered first."""
        words = content_words(topic)
        nearest: Duplicate | None = None
        for direction in self._candidates(words):
            found = similarity(words, self._words[direction])
            if found >= self.threshold and (nearest is None or found > nearest.similarity):
                nearest = Duplicate(direction, found)
        return nearest

    def _candidates(self, words: frozenset[str]) -> Iterable[str]:
        found: dict[str, None] = {}
        for word in self._prefix(words):
            found.update(dict.fromkeys(self._by_word.get(word, ())[-self._most :]))
        return found

    def _prefix(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (-len(word), word))
        return ordered[: len(words) - math.ceil(self.threshold * len(words)) + 1]


def content_words(topic: str) -> frozenset[str]:
    """The words that similarity is about."""
    words = (_stem(word) for word in _WORD.findall(topic.casefold()))
    return frozenset(word for word in words if word not in _EMPTY_WORDS)


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """The share of common words among all, from 0 to 1; 0 where the words that must agree do not."""
    if any(_must_agree(word) for word in left ^ right):
        return 0.0
    together = len(left | right)
    return len(left & right) / together if together else 0.0


def _must_agree(word: str) -> bool:
    return word in _TURNING_WORDS or any(character.isdigit() for character in word)


def _stem(word: str) -> str:
    """Cuts plurals and the endings of verbs: shields, shielded and shielding are one word."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if len(word) - len(ending) >= 4 and word.endswith(ending):
            word = word.removesuffix(ending)
    return word.removesuffix("e") if len(word) > 4 else word
