"""Artifacts: the registry, canonical digests and visibility."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from protocol.artifacts import Artifact, ArtifactRegistry, Producer, canonical_json, digest_of
from protocol.errors import UnknownArtifactType


class Finding(BaseModel):
    model_config = ConfigDict(frozen=True)
    quote: str


class Other(BaseModel):
    model_config = ConfigDict(frozen=True)
    quote: str


class Mutable(BaseModel):
    quote: str


@pytest.fixture
def registry() -> ArtifactRegistry:
    registry = ArtifactRegistry()
    registry.register("finding", 1, Finding)
    return registry


def an_artifact(**fields: object) -> Artifact:
    producer = Producer(agent="explore", task="t", attempt=1)
    base = {"id": "a", "run": "r", "number": 1, "type": "finding", "digest": "0", "direction": "d"}
    return Artifact.model_validate(base | {"producer": producer, "created_ms": 0} | fields)


def test_a_payload_gets_its_type_back(registry: ArtifactRegistry) -> None:
    assert registry.load("finding", 1, {"quote": "q"}) == Finding(quote="q")
    assert registry.name_of(Finding) == ("finding", 1)


def test_a_mutable_payload_is_refused(registry: ArtifactRegistry) -> None:
    with pytest.raises(TypeError, match="Mutable: artifact payloads are immutable; set frozen=True"):
        registry.register("mutable", 1, Mutable)


def test_a_loaded_payload_cannot_be_changed(registry: ArtifactRegistry) -> None:
    loaded = registry.load("finding", 1, {"quote": "q"})
    with pytest.raises(ValidationError, match="frozen"):
        loaded.quote = "z"  # type: ignore[attr-defined]


def test_a_name_belongs_to_one_model(registry: ArtifactRegistry) -> None:
    with pytest.raises(TypeError, match="'finding' version 1 is already Finding"):
        registry.register("finding", 1, Other)


def test_the_same_model_may_register_again_and_versions_stand_side_by_side(
    registry: ArtifactRegistry,
) -> None:
    registry.register("finding", 1, Finding)
    registry.register("finding", 2, Other)
    assert isinstance(registry.load("finding", 1, {"quote": "q"}), Finding)
    assert isinstance(registry.load("finding", 2, {"quote": "q"}), Other)


def test_an_unknown_type_or_version_is_named(registry: ArtifactRegistry) -> None:
    with pytest.raises(UnknownArtifactType, match="'finding' version 9 is not registered"):
        registry.load("finding", 9, {})
    with pytest.raises(UnknownArtifactType, match="'Other'"):
        registry.name_of(Other)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=6))
def test_equal_payloads_have_equal_digests_whatever_the_order_of_keys(payload: dict[str, int | str]) -> None:
    backwards = dict(reversed(payload.items()))
    assert digest_of({**payload}) == digest_of({**backwards})
    assert b'": ' not in canonical_json({"a": 1})


def test_an_artifact_is_seen_by_those_it_names_its_producer_and_the_operator() -> None:
    private = an_artifact(visibility=("judge",))
    assert [private.visible_to(agent, 0) for agent in ("judge", "explore", "*", "write")] == [
        True,
        True,
        True,
        False,
    ]
    assert an_artifact().visible_to("write", 0)


def test_an_expired_artifact_is_seen_by_nobody() -> None:
    expiring = an_artifact(expires_ms=10)
    assert expiring.visible_to("write", 9)
    assert not expiring.visible_to("write", 10)
    assert not expiring.visible_to("*", 10)
