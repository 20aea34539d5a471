"""Events and rows as bytes, and back. Both are versioned, with upcasters from every older format.

An event is the JSON pair `[kind, data]`; fields at their defaults are left out.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from blackboard.events import EVENTS, Choice, Event
from blackboard.queries import index_terms
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow, InquiryRow, Row, RunState, TaskRow, Totals, restore
from blackboard.store import ArtifactWrite, Loaded, RowKind, RowWrite
from protocol.artifacts import Artifact
from protocol.messages import Step

FORMAT = 4
"""Version of what this build writes. A store holds it per run, and an older build refuses a newer one."""

Upcaster = Callable[[str, dict[str, Any]], dict[str, Any]]
UPCASTERS: Mapping[int, Upcaster] = {}
"""From a format to the next: takes an event's or row's kind and data."""
READABLE = (*UPCASTERS, FORMAT)
"""Formats of runs that this build can lead."""


class _Adapters(dict[type[Any], TypeAdapter[Any]]):
    """Each is built for the first row or event of its type."""

    def __missing__(self, of: type[Any]) -> TypeAdapter[Any]:
        made = self[of] = TypeAdapter(of)
        return made


class _Writers(dict[type[Any], Callable[..., bytes]]):
    """What writes rows and events as JSON."""

    def __missing__(self, of: type[Any]) -> Callable[..., bytes]:
        made = self[of] = _ADAPTERS[of].serializer.to_json
        return made


_ADAPTERS = _Adapters()
_WRITERS = _Writers()
_KINDS = {event: kind.encode() for kind, event in EVENTS.items()}


def encode_event(event: Event) -> bytes:
    made = type(event)
    return b'["%b",%b]' % (_KINDS[made], _WRITERS[made](event, exclude_defaults=True))


def decode_event(data: bytes, written_as: int = FORMAT) -> Event:
    """:raises KeyError: for a kind that this build does not know."""
    kind, fields = json.loads(data)
    return _ADAPTERS[EVENTS[kind]].validate_python(upcast(kind, fields, written_as))


def fields_of(event: Event, *, defaults: bool = True) -> dict[str, Any]:
    """An event as JSON values; `defaults` says whether fields at their defaults are among them."""
    return _ADAPTERS[type(event)].dump_python(event, mode="json", exclude_defaults=not defaults)


def upcast(kind: str, fields: dict[str, Any], written_as: int) -> dict[str, Any]:
    """Brings data of an older format to the present one, step by step."""
    for version in range(written_as, FORMAT):
        fields = UPCASTERS[version](kind, fields)
    return fields


def encode_row(row: Row) -> bytes:
    return _WRITERS[type(row)](row, exclude_defaults=True)


class Written(NamedTuple):
    """What an append writes, and what it drops, besides its events."""

    rows: list[RowWrite]
    dropped: list[tuple[RowKind, str]]
    artifacts: list[ArtifactWrite]
    bodies: list[str]
    released: list[str]


def encode_changes(state: RunState) -> Written:
    """Takes what has changed since the last call: every append writes all of it, or rows lie about events."""
    changes, marks, posted, named, unnamed = state.take_changes()
    rows = [RowWrite(kind, key, encode_row(row)) for (kind, key), row in changes.items()]
    rows += [RowWrite(kind, name, b"") for (kind, name), there in marks.items() if there]
    dropped = [mark for mark, there in marks.items() if not there]
    return Written(rows, dropped, [encode_artifact(artifact) for artifact in posted], named, unnamed)


def encode_artifact(artifact: Artifact) -> ArtifactWrite:
    return ArtifactWrite(
        id=artifact.id,
        number=artifact.number,
        digest=artifact.digest,
        value=artifact.model_dump_json(exclude_defaults=True).encode(),
        terms=index_terms(artifact),
        created_ms=artifact.created_ms,
        body=None if artifact.body is None else artifact.body.digest,
    )


def decode_artifact(data: bytes) -> Artifact:
    return Artifact.model_validate_json(data)


def decode_task(data: bytes) -> TaskRow:
    return _ADAPTERS[TaskRow].validate_json(data)


def decode_direction(data: bytes) -> DirectionRow:
    return _ADAPTERS[DirectionRow].validate_json(data)


def decode_choice(data: bytes) -> Choice:
    return _ADAPTERS[Choice].validate_json(data)


def decode_inquiry(data: bytes) -> InquiryRow:
    return _ADAPTERS[InquiryRow].validate_json(data)


def decode_totals(data: bytes) -> Totals:
    return _ADAPTERS[Totals].validate_json(data)


def decode_spec(data: bytes) -> RunSpec:
    return RunSpec.model_validate_json(data)


def decode_steps(rows: Mapping[str, bytes]) -> Sequence[Step]:
    """A task's steps in the order of their numbers."""
    return [Step.model_validate_json(rows[key]) for key in sorted(rows)]


def decode_state(loaded: Loaded) -> RunState:
    """The state that a new leader starts from."""
    run = loaded.rows["run"]

    def rows(kind: RowKind) -> Iterable[bytes]:
        return loaded.rows.get(kind, {}).values()

    return restore(
        loaded.head,
        decode_spec(run["spec"]),
        decode_totals(run["totals"]),
        map(_ADAPTERS[TaskRow].validate_json, rows("task")),
        map(_ADAPTERS[DirectionRow].validate_json, rows("direction")),
        map(_ADAPTERS[InquiryRow].validate_json, rows("inquiry")),
    )
