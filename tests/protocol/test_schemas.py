"""The published schemas are those of the code, and whole."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import schemas, subjects
from protocol.codec import MODELS, encode
from protocol.messages import ArtifactDraft, SwarmDiscovery

ASYNCAPI = schemas.asyncapi()
JSON_SCHEMA = schemas.json_schema()


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: object, reference: str) -> Any:
    assert reference.startswith("#/")
    node: Any = document
    for part in reference[2:].split("/"):
        node = node[part]
    return node


def test_the_committed_files_are_those_that_the_code_generates() -> None:
    assert schemas.main(["--check"]) == 0, "run: python -m protocol.schemas --write"


def test_a_stale_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schemas, "FOLDER", tmp_path / "docs" / "schemas")
    assert schemas.main(["--check"]) == 1
    assert "asyncapi.json is stale" in capsys.readouterr().err
    assert schemas.main(["--write"]) == 0
    assert schemas.main(["--check"]) == 0


@pytest.mark.parametrize("document", [ASYNCAPI, JSON_SCHEMA], ids=["asyncapi", "json_schema"])
def test_every_reference_resolves(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        resolve(document, reference)


def test_every_message_has_one_branch_of_the_schema_told_by_its_type() -> None:
    branches = [resolve(JSON_SCHEMA, branch["$ref"]) for branch in JSON_SCHEMA["oneOf"]]
    assert [branch["properties"]["type"]["const"] for branch in branches] == list(MODELS)
    for branch in branches:
        assert {"id", "type", "version", "source", "time_ms", "body"} <= set(branch["required"])


def test_the_asyncapi_document_has_the_fields_that_version_3_requires() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= ASYNCAPI["info"].keys()
    for name, channel in ASYNCAPI["channels"].items():
        assert channel["messages"], name
        declared = {part.split("}")[0] for part in (channel["address"] or "").split("{")[1:]}
        assert declared == set(channel.get("parameters", {})), name
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
        if reply := operation.get("reply"):
            prefix = f"{reply['channel']['$ref']}/messages/"
            assert all(message["$ref"].startswith(prefix) for message in reply["messages"])
    for message in ASYNCAPI["components"]["messages"].values():
        assert message["payload"]


def test_every_subject_is_a_channel() -> None:
    addresses = {channel["address"] for channel in ASYNCAPI["channels"].values()}
    assert addresses >= {subjects.DEAD, subjects.DEMAND, subjects.RUNS, *subjects.ROOTS}
    for name, function in inspect.getmembers(subjects, inspect.isfunction):
        if not name.endswith("_consumer"):
            names = inspect.signature(function).parameters
            prefix = function(*("{" for _ in names)).split("{")[0]
            assert any(address and address.startswith(prefix) for address in addresses), name


def test_every_message_travels_on_some_channel() -> None:
    carried = {name for channel in ASYNCAPI["channels"].values() for name in channel["messages"]}
    assert carried == {*MODELS, "bell"}


def test_the_documents_are_plain_json() -> None:
    for _, text in schemas.documents():
        assert json.loads(text)


def test_what_is_sent_fits_the_published_schema() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(JSON_SCHEMA)
    draft = ArtifactDraft(type="passage", payload={"quote": ["é", 1.5, None]}, tags=("t",))
    discovery = SwarmDiscovery(run="r", task="t", token="k", worker="w", incarnation="i", artifacts=(draft,))
    sent = json.loads(encode(discovery, source="w", message_id="m", time_ms=1))
    assert validator.is_valid(sent)
    assert validator.is_valid(sent | {"version": "1.9", "unknown": 0})
    for wrong in (
        {"version": "2.0"},
        {"type": "swarm.task"},
        {"source": "a.b"},
        {"body": {}},
        {"time_ms": "1"},
    ):
        assert not validator.is_valid(sent | wrong), wrong
