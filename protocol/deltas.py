"""Requests as text, each told from the one before: a growing conversation costs what is new in it. Pure."""

from collections.abc import Iterable, Mapping

from protocol.messages import Asked

WORTH_SHARING = 32
"""Fewer characters in common are not worth their two numbers."""


def delta(previous: str | None, text: str) -> Asked:
    """`text`, told from `previous`. What is new is inline, whatever its size."""
    if previous is None:
        return Asked.model_construct(text=text)
    head = _common(previous, text)
    tail = _common(previous[head:][::-1], text[head:][::-1])
    if head + tail < WORTH_SHARING:
        return Asked.model_construct(text=text)
    return Asked.model_construct(head=head, tail=tail, text=text[head : len(text) - tail])


def whole(previous: str | None, asked: Asked, bodies: Mapping[str, str] | None = None) -> str:
    """The request that `asked` tells from `previous`. `bodies` are what travelled apart, by digest."""
    text = asked.text if asked.body is None else (bodies or {})[asked.body.digest]
    if not asked.head and not asked.tail:
        return text
    base = previous or ""
    return base[: asked.head] + text + base[len(base) - asked.tail :]


def last(told: Iterable[Asked], bodies: Mapping[str, str] | None = None) -> str | None:
    """The text of the last request of a path, from all that were told of it; None where there is none."""
    text: str | None = None
    for asked in told:
        text = whole(text, asked, bodies)
    return text


def _common(one: str, other: str) -> int:
    """How many characters both begin with; by halving, since comparing slices is what Python does fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
