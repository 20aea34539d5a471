"""Strict JSON: one object, with everything refused that RFC 8259 leaves to the reader.

Repeated keys, numbers beyond 64 bits or beyond a double, bottomless nesting and bodies that are small
in bytes but large in memory are refused before a model sees them, each at a bounded cost.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from pydantic_core import ValidationError, from_json

from protocol.errors import InvalidMessage

DEPTH_LIMIT = 64
"""Objects and arrays within each other, the outermost included."""

VALUES_LIMIT = 65_536
"""Values in one message, and strings in one message."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much structure a message may have: its depth, and its values (and likewise its strings)."""

    depth: int
    values: int


TAKEN_IN = Bounds(DEPTH_LIMIT, VALUES_LIMIT)
HANDED_OUT = Bounds(DEPTH_LIMIT + 32, 16 * VALUES_LIMIT)
"""Of what coordinators send: they put together what they have taken in, some levels further down."""

_LONG_NUMBER = re.compile(rb"[0-9]{19}")

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PUNCTUATION = (b",", b"[", b"{")
_NUMBERS = frozenset((int, float))
_LEAST, _MOST = -(2**63), 2**63 - 1

_Node = dict[str, Any] | list[Any]
Path = tuple[str | int, ...]


def parse_object(data: bytes, bounds: Bounds = TAKEN_IN) -> dict[str, Any]:
    """The object, parsed. :raises InvalidMessage: naming the field by its dotted path."""
    if not data:
        raise InvalidMessage("message", "the body is empty", "send one JSON object")
    _check_values(data, bounds.values)
    try:
        tree: object = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidMessage(
            "message", f"not JSON: {error}", "send one JSON object (RFC 8259) in UTF-8"
        ) from None
    if not isinstance(tree, dict):
        raise InvalidMessage("message", "the top level is no object", "send one JSON object")
    root = cast("dict[str, Any]", tree)
    keys = _count_keys(root, bounds.depth)
    if keys is None:
        _refuse_beyond_limits(root, (), bounds.depth)
    elif keys != data.translate(None, b" \t\r\n").count(b'":'):
        _refuse_repeated_keys(json.loads(data, object_pairs_hook=_unless_repeated))
    return root


def carriable(value: bytes) -> bool:
    """Whether a JSON value, taken by itself, may stand some levels down in a message that is taken in."""
    if value.count(b"[") + value.count(b"{") < DEPTH_LIMIT // 2 and _LONG_NUMBER.search(value) is None:
        return True
    try:
        parse_object(b'{"":%b}' % value, Bounds(DEPTH_LIMIT // 2, VALUES_LIMIT))
    except InvalidMessage:
        return False
    return True


def _check_values(data: bytes, limit: int) -> None:
    """Refuses what is small in bytes and large in memory, looking at punctuation alone."""
    if len(data) <= limit or sum(map(data.count, _PUNCTUATION)) <= limit:
        return
    bare, strings = _STRING.subn(b"", data, limit + 1)
    if strings > limit or sum(map(bare.count, _PUNCTUATION)) > limit:
        raise InvalidMessage("message", f"there are more than {limit:,} values", "send fewer at a time")


def _count_keys(root: _Node, limit: int) -> int | None:
    """The number of keys in a parsed tree, or None where it breaks a limit on nesting or numbers.

    Every key in the bytes is followed by a colon after its closing quote, so there are at least as many
    `":` as keys (strings may add some). As many distinct keys as `":` means that no key was repeated.
    """
    keys, depth = 0, 0
    level: list[Any] = [root]
    while level:
        depth += 1
        if depth > limit:
            return None
        below: list[Any] = []
        for node in level:
            values: Iterable[Any] = node
            if isinstance(node, dict):
                values = cast("dict[str, Any]", node).values()
                keys += len(values)
            for value in values:
                kind = type(value)  # pyright: ignore[reportUnknownVariableType] (the type of Any)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    below.append(value)
                elif kind in _NUMBERS and not _LEAST <= value <= _MOST and _number_problem(value):
                    return None
        level = below
    return keys


def _number_problem(number: float) -> str:
    if isinstance(number, int):
        return "" if _LEAST <= number <= _MOST else "the integer is beyond 64 bits"
    return "" if isfinite(number) else "the number is beyond a double"


def _refuse_beyond_limits(node: _Node, path: Path, limit: int) -> None:
    """`_count_keys` over again, slower, with names."""
    if len(path) >= limit:
        raise InvalidMessage(dotted(path), f"nested deeper than {limit} levels", "flatten it")
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = (*path, key)
        if isinstance(value, dict | list):
            _refuse_beyond_limits(cast("_Node", value), here, limit)
        elif isinstance(value, int | float) and (problem := _number_problem(value)):
            raise InvalidMessage(dotted(here), problem, "send it as a string")


@dataclass(frozen=True, slots=True)
class _Repeated:
    """Stands in a parsed tree for an object that has a key twice."""

    key: str


def _unless_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Repeated:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    times = Counter(key for key, _ in pairs)
    return _Repeated(times.most_common(1)[0][0])


def _refuse_repeated_keys(node: _Node | _Repeated) -> None:
    """The exact and slower check, for messages that look as if they had more keys than were parsed."""
    path = _path_to_repeated(node)
    if path is not None:
        raise InvalidMessage(dotted(path), "the key is repeated in one object", "send each key once")


def _path_to_repeated(node: _Node | _Repeated) -> Path | None:
    if isinstance(node, _Repeated):
        return (node.key,)
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list | _Repeated):
            found = _path_to_repeated(cast("_Node | _Repeated", value))
            if found is not None:
                return (key, *found)
    return None


def dotted(path: Path) -> str:
    """A path as errors name it."""
    return clipped(".".join(str(part) for part in path), 200)


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The field that is wrong first, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    return dotted(first["loc"]), first["msg"]


def clipped(text: str, limit: int = 60) -> str:
    """Safe to log: printable, and no longer than a line."""
    shown = text if len(text) <= limit else text[:limit] + "…"
    return shown if shown.isprintable() else repr(shown)
