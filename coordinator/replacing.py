"""Inputs of a task that are others in a run that begins with it. Pure.

What takes an input's place is on the new run's board: an artifact that it shares, as it is, or else one of
its own, with the content of another or with what an operator gives. The artifact that is replaced stays there
too, for others have used it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from pydantic import JsonValue

from blackboard.spec import Beginning, Change, RunSpec
from blackboard.state import DirectionRow
from coordinator.history import Part, Source
from coordinator.overrides import Replacement, beginning
from protocol.artifacts import Artifact, Producer, canonical_json
from protocol.errors import InvalidMessage
from protocol.ids import given_id
from protocol.messages import INLINE_BODY_BYTES, BodyRef

GIVER = "operator"
"""Stands as the agent that has produced what is given."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a run begins with in the place of inputs."""

    changes: tuple[Change, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    bodies: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Content that travels apart and that the source has not, by digest."""
    inherited: Mapping[str, Beginning] = field(default_factory=dict[str, Beginning])
    """By direction that is opened anew, what the source was told to begin it with."""


def given(
    source: Source,
    part: Part,
    task: str | None,
    inputs: Mapping[str, Replacement],
    known: Mapping[str, Artifact],
    now_ms: int,
) -> Given:
    """What a task gets otherwise than in the source. `known` are the artifacts that `inputs` name.

    :raises InvalidMessage: for what is no input, or cannot stand for it.
    """
    changes: list[Change] = []
    artifacts: list[Artifact] = []
    bodies: dict[str, bytes] = {}
    for identity, by in inputs.items():
        where = f"inputs.{identity}"
        direction = beginning(source, task, where)
        old = _input(where, direction, identity, known)
        if (by.artifact is None) == (by.payload is None):
            raise InvalidMessage(where, "takes an artifact or a payload", "give one of the two")
        new = _filled(old, by.payload) if by.artifact is None else known.get(by.artifact)
        if new is None:
            raise InvalidMessage(where, f"the run has no artifact {by.artifact}", "name one that it has")
        _check(where, direction, old, new, now_ms)
        if by.artifact is None or new.given or new.producer.task not in part.ended:
            if new.body is not None and by.artifact is None:
                bodies[new.digest] = canonical_json(by.payload)
            new = _for(task or "", direction, old, new, now_ms)
            artifacts.append(new)
        changes.append(Change(what="input", of=task or "", was=old.id, now=new.id))
    return Given(tuple(changes), tuple(artifacts), bodies)


def replaced_in(spec: RunSpec) -> Sequence[str]:
    """The artifacts that a run has had replaced, and those that it got instead."""
    changes = spec.origin.changes if spec.origin else ()
    return [str(one) for change in changes if change.what == "input" for one in (change.was, change.now)]


def inherited(source: Source, part: Part, own: Given, known: Mapping[str, Artifact], now_ms: int) -> Given:
    """Adds what the source, and those before it, were told of directions that are not shared.

    What stood in the place of an input and was posted by a task becomes the new run's own: that task may
    begin anew, and later. `known` are the artifacts that the changes of the source's origin name.
    """
    origin = source.spec.origin
    if origin is None:
        return own
    rows = {row.id: row for row in source.directions}
    begin = {of: how for of, how in origin.inherited.items() if of not in part.directions}
    copies: list[Artifact] = []
    for change in origin.changes:
        if change.what not in ("topic", "input"):
            continue
        row = rows[source.tasks[change.of].direction]
        if row.id in part.directions:
            continue
        begin.setdefault(row.id, Beginning(topic=row.topic, inputs=row.inputs))
        if change.what == "input" and not known[str(change.now)].given:
            copy = _for(change.of, row, known[str(change.was)], known[str(change.now)], now_ms)
            copies.append(copy)
            begin[row.id] = _with_input(begin[row.id], str(change.now), copy.id)
    return replace(own, artifacts=(*own.artifacts, *copies), inherited=begin)


def _with_input(begin: Beginning, was: str, now: str) -> Beginning:
    return begin.model_copy(update={"inputs": tuple(now if one == was else one for one in begin.inputs)})


def _input(where: str, direction: DirectionRow, identity: str, known: Mapping[str, Artifact]) -> Artifact:
    if identity in direction.inputs and identity in known:
        return known[identity]
    names = ", ".join(direction.inputs)
    remedy = f"name one of {names}" if names else "leave it out: that task has none"
    raise InvalidMessage(where, "is no input of the task where the runs part", remedy)


def _filled(old: Artifact, payload: JsonValue) -> Artifact:
    """The artifact with other content. No text finds it: that of the old one does not tell of this."""
    raw = canonical_json(payload)
    digest = sha256(raw).hexdigest()
    body = BodyRef(digest=digest, size_bytes=len(raw)) if len(raw) > INLINE_BODY_BYTES else None
    update = {"payload": None if body else payload, "body": body, "digest": digest, "text": ""}
    return old.model_copy(update=update)


def _check(where: str, direction: DirectionRow, old: Artifact, new: Artifact, now_ms: int) -> None:
    if (new.type, new.version) != (old.type, old.version):
        problem = f"artifact {new.id} is a {new.type} version {new.version}"
        raise InvalidMessage(where, problem, f"give a {old.type} version {old.version}")
    if new.digest == old.digest:
        raise InvalidMessage(where, "has that content already", "give another, or leave it out")
    if new.id != old.id and new.id in direction.inputs:
        raise InvalidMessage(where, f"artifact {new.id} is an input already", "name another")
    if not new.visible_to(direction.agent, now_ms):
        problem = f"agent {direction.agent!r} may not see artifact {new.id}"
        raise InvalidMessage(where, problem, "name one that it may see, or give the content")


def _for(task: str, direction: DirectionRow, old: Artifact, new: Artifact, now_ms: int) -> Artifact:
    """An artifact of the new run alone: it says what it stands for, and whose content it has."""
    return new.model_copy(
        update={
            "id": given_id(task, old.id, new.digest),
            "producer": Producer(agent=GIVER, task=task, attempt=0),
            "direction": direction.id,
            "parents": tuple(dict.fromkeys((old.id, new.id))),
            "visibility": old.visibility,
            "created_ms": now_ms,
            "expires_ms": None,
        }
    )
