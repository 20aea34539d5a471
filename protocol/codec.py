"""The envelope that every message travels in, and the only way in and out of bytes.

A body is refused before it can cost anything: its size is checked before it is parsed, and what JSON
leaves open (`protocol.strict_json`) before a model sees it. What is refused is refused with an
`InvalidMessage` that names the field and the remedy. No I/O and no clock: ids and times are the caller's.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar

from pydantic import StringConstraints, ValidationError
from pydantic_core import PydanticSerializationError

from protocol.errors import InvalidMessage, MessageTooLarge, UnsupportedVersion
from protocol.ids import TOKEN_PATTERN
from protocol.limits import PermitReply, PermitRequest
from protocol.messages import (
    AnswerReply,
    AnswerRequest,
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
    PauseReply,
    PauseRequest,
    PutReply,
    PutRequest,
    QueryReply,
    QueryRequest,
    Record,
    RecordReply,
    RecordRequest,
    RetryReply,
    RetryRequest,
    StepsReply,
    StepsRequest,
    SwarmDiscoveries,
    SwarmDiscovery,
    SwarmHeartbeat,
    SwarmInquiry,
    SwarmResponse,
    SwarmTask,
)
from protocol.providers import Breakers, ProviderReply, ProviderReport
from protocol.strict_json import TAKEN_IN, Bounds, clipped, dotted, parse_object

VERSION = "1.0"
"""Schema version of every message of this build; a reader refuses another major version."""

MESSAGE_BYTES = 1024 * 1024
"""What no message may exceed: the payload limit of the bus."""

Body = TypeVar("Body", bound=Record)
Message = TypeVar("Message", bound=Record)

Version = Annotated[str, StringConstraints(pattern=r"^1\.[0-9]{1,4}$")]
Traceparent = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
]
Target = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}$")]


class Head(Record):
    """What says where a message belongs. `source` and `target` are names of workers, agents or coordinators.

    `traceparent` is the W3C Trace Context of the work that sent the message.
    """

    type: str
    version: Version
    source: Id
    target: Target = ""
    correlation_id: Id | None = None
    traceparent: Traceparent | None = None


class Envelope(Head, Generic[Body]):
    """What every message travels in.

    `time_ms` is the sender's wall clock in UTC epoch milliseconds, for people: no decision reads it.
    """

    id: Id
    time_ms: Count
    body: Body


MODELS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "swarm.task": SwarmTask,
        "swarm.discovery": SwarmDiscovery,
        "swarm.discoveries": SwarmDiscoveries,
        "swarm.heartbeat": SwarmHeartbeat,
        "swarm.inquiry": SwarmInquiry,
        "swarm.response": SwarmResponse,
        "swarm.control": Control,
        "swarm.dead": DeadLetter,
        "swarm.demand": Demand,
        "swarm.breakers": Breakers,
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
        "board.provider": ProviderReport,
        "board.provider.reply": ProviderReply,
        "board.permits": PermitRequest,
        "board.permits.reply": PermitReply,
        "board.cancel": CancelRequest,
        "board.cancel.reply": CancelReply,
        "board.pause": PauseRequest,
        "board.pause.reply": PauseReply,
        "board.retry": RetryRequest,
        "board.retry.reply": RetryReply,
        "board.answer": AnswerRequest,
        "board.answer.reply": AnswerReply,
        "error": ErrorReply,
    }
)
"""Every message that travels on its own, by its stable name on the wire."""

NAMES: Mapping[type[Record], str] = MappingProxyType({model: name for name, model in MODELS.items()})


class _Envelopes(dict[str, type[Envelope[Any]]]):
    """Each is made for the first message of its name."""

    def __missing__(self, name: str) -> type[Envelope[Any]]:
        made = self[name] = Envelope[MODELS[name]]
        return made


ENVELOPES = _Envelopes()
"""The envelope of each of MODELS: one validator checks head and body together."""


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
    """The bytes of a message; fields at their defaults are left out.

    The body is taken as its model accepted it: a payload may still be larger, deeper or have wider
    integers than `decode` accepts.

    :raises InvalidMessage: for a head that `decode` would refuse, a value that has no JSON, or a model
        without a wire name.
    """
    name = NAMES.get(type(message))
    if name is None:
        raise InvalidMessage(
            "type", f"{type(message).__name__} does not travel on its own", "wrap it in a message"
        )
    body = encode_body(message)
    return enclose(
        name,
        body,
        source=source,
        target=target,
        message_id=message_id,
        time_ms=time_ms,
        correlation_id=correlation_id,
        traceparent=traceparent,
    )


def encode_body(message: Record) -> bytes:
    """A message without its envelope. :raises InvalidMessage: for a value that has no JSON."""
    try:
        return message.__pydantic_serializer__.to_json(message, exclude_defaults=True)
    except PydanticSerializationError as error:
        problem = clipped(str(error), 200)
        raise InvalidMessage("body", problem, "send JSON values and text without lone surrogates") from None


def enclose(
    name: str,
    body: bytes,
    *,
    source: str,
    target: str = "",
    message_id: str,
    time_ms: int,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """The envelope around the encoded body of the message called `name`.

    :raises InvalidMessage: for a head that `decode` would refuse.
    """
    if TOKEN_PATTERN.fullmatch(message_id) is None:
        raise InvalidMessage("id", f"{_shown(message_id)} is no id", f"see the JSON Schema of {name}")
    if time_ms < 0:
        raise InvalidMessage("time_ms", f"{time_ms} lies before 1970", "send UTC epoch milliseconds")
    head = _head(name, source, target, correlation_id, traceparent)
    return b'{"id":"%b","time_ms":%d,%b,"body":%b}' % (message_id.encode(), time_ms, head, body)


@lru_cache(maxsize=4096)
def _head(name: str, source: str, target: str, correlation_id: str | None, traceparent: str | None) -> bytes:
    """What many messages of one sender have in common, without its braces."""
    try:
        head = Head(
            type=name,
            version=VERSION,
            source=source,
            target=target,
            correlation_id=correlation_id,
            traceparent=traceparent,
        )
    except ValidationError as error:
        raise _invalid(name, error) from None
    return head.__pydantic_serializer__.to_json(head, exclude_defaults=True)[1:-1]


def decode(data: bytes, *, limit_bytes: int = MESSAGE_BYTES, bounds: Bounds = TAKEN_IN) -> Envelope[Any]:
    """The envelope with its body as an instance of the model that `type` names.

    :raises MessageTooLarge: above `limit_bytes`, without looking at a single byte.
    :raises UnsupportedVersion: for another major version than ours.
    :raises InvalidMessage: for everything else that is wrong, naming the field and the remedy.
    """
    if len(data) > limit_bytes:
        raise MessageTooLarge("message", len(data), limit_bytes)
    tree = parse_object(data, bounds)
    if tree.get("version") != VERSION:
        _check_version(tree.get("version"))
    name = tree.get("type")
    if not isinstance(name, str) or name not in MODELS:
        raise InvalidMessage(
            "type", f"{_shown(name)} is no message that this build knows", f"send one of: {', '.join(MODELS)}"
        )
    try:
        return ENVELOPES[name].__pydantic_validator__.validate_json(data, strict=True)
    except ValidationError as error:
        raise _invalid(name, error) from None


def decode_as(
    data: bytes, model: type[Message], *, limit_bytes: int = MESSAGE_BYTES, bounds: Bounds = TAKEN_IN
) -> Message:
    """The body of a message that must be a `model`.

    :raises InvalidMessage: when the type is another, and for everything that `decode` refuses.
    """
    envelope = decode(data, limit_bytes=limit_bytes, bounds=bounds)
    if not isinstance(envelope.body, model):
        raise InvalidMessage(
            "type", f"{envelope.type!r} is not expected here", f"send {NAMES.get(model, model.__name__)!r}"
        )
    return envelope.body


def _check_version(version: object) -> None:
    if not isinstance(version, str):
        raise InvalidMessage("version", f"{_shown(version)} is no version", f"send {VERSION!r}")
    major, dot, minor = version.partition(".")
    if not (dot and major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        raise InvalidMessage("version", f"{_shown(version)} is not MAJOR.MINOR", f"send {VERSION!r}")
    if major != "1":
        raise UnsupportedVersion("version", clipped(version), (1,))


def _invalid(name: str, error: ValidationError) -> InvalidMessage:
    """The first problem in full, the others as a count."""
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    more = f" (and {len(others)} more)" if others else ""
    remedy = "add the field" if first["type"] == "missing" else f"see the JSON Schema of {name}"
    return InvalidMessage(dotted(first["loc"]), f"{first['msg']}{more}", remedy)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(clipped(value))
    return "null" if value is None else f"a value of type {type(value).__name__}"
