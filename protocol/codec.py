"""The envelope that every message travels in, and the only way in and out of bytes.

A body is refused before it can cost anything: the size is checked before parsing, and what JSON
leaves open (repeated keys, numbers beyond 64 bits or beyond a double, bottomless nesting) is
checked before a model sees it. What is refused is refused with an `InvalidMessage` that names the
field and the remedy. This module does no I/O and knows no clock: ids and times are the caller's.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import StringConstraints, ValidationError
from pydantic_core import from_json

from protocol.errors import InvalidMessage, MessageTooLarge, UnsupportedVersion
from protocol.messages import (
    CancelReply,
    CancelRequest,
    ClaimReply,
    ClaimRequest,
    Control,
    Count,
    DeadLetter,
    Demand,
    ErrorReply,
    GetReply,
    GetRequest,
    Id,
    PutReply,
    PutRequest,
    QueryReply,
    QueryRequest,
    Record,
    RecordReply,
    RecordRequest,
    StepsReply,
    StepsRequest,
    SwarmDiscovery,
    SwarmHeartbeat,
    SwarmInquiry,
    SwarmResponse,
    SwarmTask,
)

VERSION = "1.0"
"""Schema version of every message of this build; a reader refuses another major version."""

MESSAGE_BYTES = 1024 * 1024
"""What no message may exceed: the payload limit of the bus."""

DEPTH_LIMIT = 64
"""Objects and arrays within each other, the envelope included."""

VALUES_LIMIT = 65_536
"""Values in one message, and strings in one message."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PUNCTUATION = (b",", b"[", b"{")
_LEAST, _MOST = -(2**63), 2**63 - 1

_Node = dict[str, Any] | list[Any]
Body = TypeVar("Body", bound=Record)
Message = TypeVar("Message", bound=Record)

Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")]
Traceparent = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
]
Target = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}$")]


class Envelope(Record, Generic[Body]):
    """What every message has in common. `source` and `target` are names of workers, agents or coordinators.

    `time_ms` is the sender's wall clock in UTC epoch milliseconds, for people: no decision reads it.
    `traceparent` is the W3C Trace Context of the work that sent the message.
    """

    id: Id
    type: str
    version: Version
    source: Id
    target: Target = ""
    time_ms: Count
    correlation_id: Id | None = None
    traceparent: Traceparent | None = None
    body: Body


MODELS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "swarm.task": SwarmTask,
        "swarm.discovery": SwarmDiscovery,
        "swarm.heartbeat": SwarmHeartbeat,
        "swarm.inquiry": SwarmInquiry,
        "swarm.response": SwarmResponse,
        "swarm.control": Control,
        "swarm.dead": DeadLetter,
        "swarm.demand": Demand,
        "board.claim": ClaimRequest,
        "board.claim.reply": ClaimReply,
        "board.record": RecordRequest,
        "board.record.reply": RecordReply,
        "board.steps": StepsRequest,
        "board.steps.reply": StepsReply,
        "board.put": PutRequest,
        "board.put.reply": PutReply,
        "board.get": GetRequest,
        "board.get.reply": GetReply,
        "board.query": QueryRequest,
        "board.query.reply": QueryReply,
        "board.cancel": CancelRequest,
        "board.cancel.reply": CancelReply,
        "error": ErrorReply,
    }
)
"""Every message that travels on its own, by its stable name on the wire."""

NAMES: Mapping[type[Record], str] = MappingProxyType({model: name for name, model in MODELS.items()})

ENVELOPES: Mapping[str, type[Envelope[Any]]] = MappingProxyType(
    {name: Envelope[model] for name, model in MODELS.items()}
)
"""The envelope of each message: one validator checks head and body together."""


def encode(
    message: Record,
    *,
    source: str,
    target: str = "",
    message_id: str,
    time_ms: int,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """:raises InvalidMessage: for a head that `decode` would refuse, or a model that has no wire name."""
    name = NAMES.get(type(message))
    if name is None:
        raise InvalidMessage(
            "type", f"{type(message).__name__} does not travel on its own", "wrap it in a message"
        )
    try:
        envelope = ENVELOPES[name](
            id=message_id,
            type=name,
            version=VERSION,
            source=source,
            target=target,
            time_ms=time_ms,
            correlation_id=correlation_id,
            traceparent=traceparent,
            body=message,
        )
    except ValidationError as error:
        raise _invalid(name, error) from None
    return envelope.__pydantic_serializer__.to_json(envelope)


def decode(data: bytes, *, limit_bytes: int = MESSAGE_BYTES) -> Envelope[Any]:
    """The envelope with its body as an instance of the model that `type` names.

    :raises MessageTooLarge: above `limit_bytes`, without looking at a single byte.
    :raises UnsupportedVersion: for another major version than ours.
    :raises InvalidMessage: for everything else that is wrong, naming the field and the remedy.
    """
    if len(data) > limit_bytes:
        raise MessageTooLarge("message", len(data), limit_bytes)
    tree = _parse(data)
    _check_version(tree.get("version"))
    name = tree.get("type")
    envelope = ENVELOPES.get(name) if isinstance(name, str) else None
    if envelope is None:
        raise InvalidMessage(
            "type", f"{_shown(name)} is no message that this build knows", f"send one of: {', '.join(MODELS)}"
        )
    try:
        return envelope.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise _invalid(str(name), error) from None


def decode_as(data: bytes, model: type[Message], *, limit_bytes: int = MESSAGE_BYTES) -> Message:
    """The body of a message that must be a `model`.

    :raises InvalidMessage: when the type is another, and for everything that `decode` refuses.
    """
    envelope = decode(data, limit_bytes=limit_bytes)
    if not isinstance(envelope.body, model):
        raise InvalidMessage(
            "type", f"{envelope.type!r} is not expected here", f"send {NAMES.get(model, model.__name__)!r}"
        )
    return envelope.body


def _parse(data: bytes) -> dict[str, Any]:
    if not data:
        raise InvalidMessage("message", "the body is empty", "send one JSON object")
    _check_values(data)
    try:
        tree: object = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidMessage(
            "message", f"not JSON: {error}", "send one JSON object (RFC 8259) in UTF-8"
        ) from None
    if not isinstance(tree, dict):
        raise InvalidMessage("message", "the top level is no object", "send one JSON object")
    root = cast("dict[str, Any]", tree)
    keys = _count_keys(root, 1)
    if keys is None:
        _refuse_beyond_limits(root, ())
    elif keys != data.translate(None, b" \t\r\n").count(b'":'):
        _refuse_repeated_keys(json.loads(data, object_pairs_hook=_unless_repeated), ())
    return root


def _check_values(data: bytes) -> None:
    """Refuses what is small in bytes and large in memory, looking at punctuation alone."""
    if len(data) <= VALUES_LIMIT or sum(map(data.count, _PUNCTUATION)) <= VALUES_LIMIT:
        return
    bare, strings = _STRING.subn(b"", data, VALUES_LIMIT + 1)
    if strings > VALUES_LIMIT or sum(map(bare.count, _PUNCTUATION)) > VALUES_LIMIT:
        raise InvalidMessage(
            "message", f"there are more than {VALUES_LIMIT:,} values", "send fewer at a time"
        )


def _count_keys(node: _Node, depth: int) -> int | None:
    """The number of keys in a parsed tree, or None where it breaks a limit on nesting or numbers.

    Every key in the bytes is followed by a colon after its closing quote, so there are at least as many
    `":` as keys (strings may add some). As many distinct keys as `":` means that no key was repeated.
    """
    if depth > DEPTH_LIMIT:
        return None
    keys, values = (len(node), node.values()) if isinstance(node, dict) else (0, node)
    for value in values:
        kind = type(value)  # pyright: ignore[reportUnknownVariableType] (the type of Any)
        if kind is str:
            continue
        if kind is dict or kind is list:
            inner = _count_keys(value, depth + 1)
            if inner is None:
                return None
            keys += inner
        elif (kind is int or kind is float) and not _LEAST <= value <= _MOST and _number_problem(value):
            return None
    return keys


def _number_problem(number: float) -> str:
    if isinstance(number, int):
        return "" if _LEAST <= number <= _MOST else "the integer is beyond 64 bits"
    return "" if isfinite(number) else "the number is beyond a double"


def _refuse_beyond_limits(node: _Node, path: tuple[str | int, ...]) -> None:
    """`_count_keys` over again, slower, with names."""
    if len(path) >= DEPTH_LIMIT:
        raise InvalidMessage(_dotted(path), f"nested deeper than {DEPTH_LIMIT} levels", "flatten it")
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = (*path, key)
        if isinstance(value, dict | list):
            _refuse_beyond_limits(cast("_Node", value), here)
        elif isinstance(value, int | float) and (problem := _number_problem(value)):
            raise InvalidMessage(_dotted(here), problem, "send it as a string")


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


def _refuse_repeated_keys(node: object, path: tuple[str | int, ...]) -> None:
    """The exact and slower check, for messages that look as if they had more keys than were parsed."""
    if isinstance(node, _Repeated):
        raise InvalidMessage(
            _dotted((*path, node.key)), "the key is repeated in one object", "send each key once"
        )
    if isinstance(node, dict):
        for key, value in cast("dict[str, object]", node).items():
            _refuse_repeated_keys(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(cast("list[object]", node)):
            _refuse_repeated_keys(value, (*path, index))


def _check_version(version: object) -> None:
    if not isinstance(version, str):
        raise InvalidMessage("version", f"{_shown(version)} is no version", f"send {VERSION!r}")
    major, dot, minor = version.partition(".")
    if not (dot and major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        raise InvalidMessage("version", f"{_shown(version)} is not MAJOR.MINOR", f"send {VERSION!r}")
    if major != "1":
        raise UnsupportedVersion("version", _clipped(version), (1,))


def _invalid(name: str, error: ValidationError) -> InvalidMessage:
    """The first problem in full, the others as a count."""
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    more = f" (and {len(others)} more)" if others else ""
    remedy = "add the field" if first["type"] == "missing" else f"see the JSON Schema of {name}"
    return InvalidMessage(_dotted(first["loc"]), f"{first['msg']}{more}", remedy)


def _dotted(path: tuple[str | int, ...]) -> str:
    return _clipped(".".join(str(part) for part in path), 200)


def _clipped(text: str, limit: int = 60) -> str:
    """Safe to log: printable, and no longer than a line."""
    shown = text if len(text) <= limit else text[:limit] + "…"
    return shown if shown.isprintable() else repr(shown)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(_clipped(value))
    return "null" if value is None else f"a value of type {type(value).__name__}"
