"""Artifacts: immutable, typed facts, and the registry that gives a stored payload its type back."""

import hashlib
import json
from collections.abc import Callable
from typing import ClassVar, TypeVar

from pydantic import BaseModel, JsonValue

from protocol.errors import UnknownArtifactType
from protocol.messages import BodyRef, Id, Record

Payload = TypeVar("Payload", bound=BaseModel)


class Producer(Record):
    """Who made an artifact: the agent, in which task, at which attempt.

    At attempt 0 no agent did: an operator gave it to the task, in the place of an input (`Artifact.given`).
    """

    agent: Id
    task: Id
    attempt: int


class Artifact(Record):
    """A fact on the board. `number` counts the run's artifacts from 1, in the order of their commits.

    `payload` holds the content up to the inline limit, `body` names it by digest above; `digest`
    is the SHA-256 of the canonical JSON either way.
    """

    id: Id
    run: Id
    number: int
    type: Id
    version: int = 1
    payload: JsonValue = None
    body: BodyRef | None = None
    digest: str
    producer: Producer
    direction: Id
    parents: tuple[Id, ...] = ()
    correlation: Id | None = None
    tags: tuple[str, ...] = ()
    visibility: tuple[Id, ...] = ()
    text: str = ""
    created_ms: int
    expires_ms: int | None = None

    @property
    def given(self) -> bool:
        """Whether a run began with it: its first parent is what it stands for."""
        return self.producer.attempt == 0

    def visible_to(self, agent: str, now_ms: int) -> bool:
        """The one visibility check: every path that shows artifacts calls it. "*" is the operator."""
        if self.expires_ms is not None and now_ms >= self.expires_ms:
            return False
        return agent == "*" or not self.visibility or agent in self.visibility or agent == self.producer.agent


def canonical_json(payload: JsonValue) -> bytes:
    """Sorted keys, no blanks, UTF-8: equal values have equal bytes."""
    return json.dumps(
        payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(payload: JsonValue) -> str:
    return hashlib.sha256(canonical_json(payload)).hexdigest()


class ArtifactRegistry:
    """Stable names and versions of payload models. Each process registers those that it uses."""

    shared: ClassVar["ArtifactRegistry"]

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], type[BaseModel]] = {}
        self._names: dict[type[BaseModel], tuple[str, int]] = {}

    def register(self, name: str, version: int, model: type[BaseModel]) -> None:
        """:raises TypeError: when the model is not frozen, or the name is taken by another model."""
        if not model.model_config.get("frozen"):
            raise TypeError(f"{model.__name__}: artifact payloads are immutable; set frozen=True")
        known = self._models.get((name, version))
        if known is not None and (known.__module__, known.__qualname__) != (
            model.__module__,
            model.__qualname__,
        ):
            raise TypeError(f"artifact type {name!r} version {version} is already {known.__qualname__}")
        self._models[name, version] = model
        self._names[model] = name, version

    def name_of(self, model: type[BaseModel]) -> tuple[str, int]:
        """:raises UnknownArtifactType: when the model was never registered."""
        if model not in self._names:
            raise UnknownArtifactType(model.__name__, 1)
        return self._names[model]

    def load(self, name: str, version: int, payload: JsonValue) -> BaseModel:
        """:raises UnknownArtifactType: when nobody registered the name and version."""
        model = self._models.get((name, version))
        if model is None:
            raise UnknownArtifactType(name, version)
        return model.model_validate(payload)


ArtifactRegistry.shared = ArtifactRegistry()


def artifact(name: str, version: int = 1) -> Callable[[type[Payload]], type[Payload]]:
    """Registers a frozen pydantic model as the payload of an artifact type."""

    def register(model: type[Payload]) -> type[Payload]:
        ArtifactRegistry.shared.register(name, version, model)
        return model

    return register
